"""Damaged, cut, resumed, extended and bare runs: a comparison names them, or reads them as they are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pgrun.analysis.compare.config import flatten_comparable_settings
from pgrun.analysis.compare.groups import group_runs
from pgrun.analysis.compare.metrics import read_metrics
from pgrun.analysis.compare.read_runs import read_runs
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_compare import cells, compare, curve_rows, make_run, nested


def labels(top: Path, *by: str) -> dict[str, int]:
    return {g.label: len(g.runs) for g in group_runs(read_runs([str(top)]).runs, by)}


def damaged(top: Path) -> Path:
    rows = curve_rows((100, 1), (200, 2), (300, 3))
    names = ("good", "cut", "json", "unfinished", "failed", "yaml", "bare", "nan", "binary", "list", "again")
    for seed, name in enumerate(names):
        make_run(top / name, seed, 5.0, rows=rows)
    (top / "empty").mkdir()
    metrics = top / "cut" / "metrics.csv"
    metrics.write_text(metrics.read_text()[:-9])
    (top / "json" / "summary.json").write_text('{"status": "fini')
    (top / "unfinished" / "summary.json").unlink()
    (top / "failed" / "summary.json").write_text('{"status": "failed", "error": "ValueError: no\\nmore"}')
    (top / "yaml" / ".hydra" / "config.yaml").write_text("seed: 3\nalgo: {name: [")
    shutil.rmtree(top / "bare" / ".hydra")
    (top / "nan" / "summary.json").write_text('{"status": "finished", "eval": {"return_mean": NaN}}')
    (top / "binary" / "metrics.csv").write_bytes(b"\x00\xff\n\x9c,")
    (top / "list" / "summary.json").write_text("[1]")
    shutil.copytree(top / "good", top / "good2")
    shutil.rmtree(top / "again")
    return top


def test_damaged_runs_are_named_in_one_line_each(tmp_path: Path) -> None:
    """None stops the others."""
    answer = compare(damaged(tmp_path), "--threshold", 3)
    assert answer.code == 0
    lines = {line.split(": ")[1].rsplit("/", 1)[1]: line for line in answer.err.splitlines()}
    assert len(lines) == len(answer.err.splitlines()) == 11
    for name, said in {
        "cut": "1 line of metrics.csv cut",
        "json": "summary.json is broken, no score",
        "unfinished": "unfinished, 300 steps so far, no score",
        "failed": "failed (ValueError: no), no score",
        "yaml": ".hydra/config.yaml is broken (not YAML), left out",
        "bare": "no .hydra/config.yaml, left out",
        "nan": "no finite final evaluation, no score",
        "binary": "metrics.csv has no header",
        "list": "summary.json is broken, no score",
        "empty": "empty, left out",
        "good": "the same configuration and seed as",
    }.items():
        assert said in lines[name], name
    (row,) = cells(answer).values()
    assert row[0] == "0,1,8"


@pytest.mark.parametrize("left", range(0, 130, 7))
def test_a_table_cut_anywhere(left: int, tmp_path: Path) -> None:
    """Whatever is read, is read right: a number that has lost its end is no number."""
    run = make_run(tmp_path / "r", 0, None, rows=curve_rows((100, 111.25), (200, 222.5), (300, 333.75)))
    metrics = run / "metrics.csv"
    metrics.write_text(metrics.read_text()[:left])
    steps, values = read_metrics(metrics, ["return/eval"]).track("return/eval")
    assert list(zip(steps, values, strict=True)) == [(100, 111.25), (200, 222.5), (300, 333.75)][: len(steps)]
    assert compare(run).code == 0


def test_rows_that_a_resumed_run_has_written_again(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "r",
        0,
        None,
        rows=curve_rows((100, 1), (200, 2), (300, 3), (200, 20), (300, 30), (400, 40)),
    )
    steps, values = read_metrics(run / "metrics.csv", ["return/eval"]).track("return/eval")
    assert steps.tolist() == [100, 200, 300, 400]
    assert values.tolist() == [1, 20, 30, 40]


def test_a_run_that_keeps_no_hydra_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", 4, 2.0)
    config = flatten_comparable_settings({"algo": {"name": "ppo"}, "env": {"id": "E"}})
    shutil.rmtree(run / ".hydra")
    (run / "policy.json").write_text(
        json.dumps({"config": {"seed": 4, "algo": {"name": "ppo"}, "env": {"id": "E"}}})
    )
    (actual,) = read_runs([str(run)]).runs
    assert (actual.config, actual.seed) == (config, 4)


def test_a_run_that_was_extended_is_no_longer_the_shorter_one(tmp_path: Path) -> None:
    """``pgrun resume=DIR trainer.total_steps=2000``: Hydra's record is of the
    beginning, the policy's of the end.
    """
    for seed in (0, 1):
        make_run(tmp_path / str(seed), seed, 1.0)
    longer = nested({"trainer.total_steps": 2000}) | {"seed": 1}
    (tmp_path / "1" / "policy.json").write_text(json.dumps({"config": longer}))
    assert labels(tmp_path) == {"trainer.total_steps=1000": 1, "trainer.total_steps=2000": 1}


def test_every_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 runs in under 10 s: four files a run, whatever is asked for (benchmarks: 3
    s with 1000 rows each).
    """
    rows = curve_rows(*((100 * i, i) for i in range(1, 20)))
    for seed in range(30):
        make_run(tmp_path / str(seed), seed, 1.0, {"gamma": 0.9 + seed // 5 / 100}, rows=rows)
    reads: list[Path] = []
    original = os.open

    def counted(place: Path, *args: int) -> int:
        handle = original(place, *args)
        reads.extend([Path(place)] if Path(place).parent.parent == tmp_path or ".hydra" in str(place) else [])
        return handle

    monkeypatch.setattr(os, "open", counted)
    answer = compare(tmp_path, "--threshold", 5, "--html", tmp_path / "c.html", "--scalars", "return/eval")
    assert answer.code == 0
    assert len(reads) == len(set(reads)) == 4 * 30
