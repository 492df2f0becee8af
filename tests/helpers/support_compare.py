"""Run directories without training: what a run leaves behind, made up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pgrun.analysis.compare import cli
from tests.helpers.support_cli import Answer, answer

TAGS = ("return/train", "return/eval", "kl/old_new", "gradient/variance", "time/env_steps_per_second")
BASE: dict[str, Any] = {
    "gamma": 0.99,
    "usual": {"optimizer": {"lr": 0.001}},
    "env": {"id": "CartPole-v1", "num_envs": "${oc.select:usual.env.num_envs,8}", "kwargs": {}},
    "algo": {"name": "ppo", "clip": 0.2, "epochs": 4},
    "variance": {"name": "gae", "lam": 0.95},
    "optimizer": {"name": "adam", "lr": "${oc.select:usual.optimizer.lr,3e-4}"},
    "trainer": {"total_steps": 1000},
    "logger": {"progress": True},
}
Row = Mapping[str, float]


EVALS = [{"env_steps": 100, "return/eval": 1.0}, {"env_steps": 200, "return/eval": 2.0}]


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """``BASE`` with ``{"optimizer.lr": 0.1}``."""
    config = json.loads(json.dumps(BASE))
    for path, value in changes.items():
        *parents, last = path.split(".")
        part = config
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = value
    return config


def make_run(
    folder: Path,
    seed: int,
    score: float | None,
    changes: Mapping[str, Any] | None = None,
    typed: Iterable[str] = (),
    rows: Iterable[Row] = (),
) -> Path:
    """``score`` None: unfinished. ``rows``: ``env_steps`` and any of ``TAGS``."""
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True)
    config = nested(changes or {})
    (hydra / "config.yaml").write_text(yaml.safe_dump({"seed": seed, **config}, sort_keys=False))
    (hydra / "overrides.yaml").write_text(yaml.safe_dump([*typed, f"seed={seed}"]))
    lines = [",".join(["env_steps", *TAGS])]
    lines += [",".join(str(row.get(tag, "")) for tag in ("env_steps", *TAGS)) for row in rows]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    if score is not None:
        summary = {"status": "finished", "seed": seed, "eval": {"return_mean": score}}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def curve_rows(*pairs: tuple[int, float]) -> list[dict]:
    """(environment steps, evaluation return) of each row."""
    return [{"env_steps": s, "return/eval": v, "time/env_steps_per_second": 50} for s, v in pairs]


def compare(*words: object) -> Answer:
    """``pgrun-compare`` in this process."""
    return answer(cli.main, "pgrun-compare", *map(str, words))


def cells(answer: Answer) -> dict[str, list[str]]:
    """Columns of the table by the label of the row."""
    lines = answer.out.splitlines()
    head = next(line for line in lines if line.startswith("configuration"))
    rows = lines[lines.index(head) + 1 :]
    rows = rows[: rows.index("")] if "" in rows else rows
    return {first: rest for first, *rest in (re.split(r" {2,}", row) for row in rows)}
