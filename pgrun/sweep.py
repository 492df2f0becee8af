"""The end of a sweep: a table over seeds, and every job that failed."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from omegaconf import OmegaConf

from pgrun.report import shortest


def report(folder: Path) -> int:
    """Print the sweep's table and its failures; 1 if there are any, else 0."""
    jobs = [read(path) for path in sorted(folder.glob("*/.hydra/overrides.yaml"), key=number)]
    done = [job for job in jobs if job["status"] == "finished"]
    failed = [job for job in jobs if job["status"] != "finished"]
    print("\n" + table(done) if done else "\nno job finished")
    print(f"\nlook at it: tensorboard --logdir {shortest(folder)}")
    for job in failed:
        print(
            f"pgrun: job {job['number']} ({' '.join(job['overrides'])}) failed: {job['error']}",
            file=sys.stderr,
        )
    return int(bool(failed))


def number(overrides: Path) -> tuple[int, str]:
    name = overrides.parent.parent.name
    return (int(name) if name.isdigit() else sys.maxsize, name)


def read(overrides: Path) -> dict[str, Any]:
    """What a job's directory says; one that died without a word is a failure too."""
    folder = overrides.parent.parent
    summary: dict[str, Any] = {"status": "failed", "error": "it left no summary"}
    if (folder / "summary.json").exists():
        summary = json.loads((folder / "summary.json").read_text())
    words = [str(word) for word in OmegaConf.load(overrides)]
    return {**summary, "number": folder.name, "overrides": words}


def table(jobs: list[dict[str, Any]]) -> str:
    """Configuration without seed · seeds · mean ± standard deviation over seeds of the final evaluation."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        words = [word for word in job["overrides"] if not word.startswith("seed=")]
        groups.setdefault(" ".join(words) or "(defaults)", []).append(job)
    width = max(len("configuration"), *map(len, groups))
    lines = [f"{'configuration':<{width}}  {'seeds':>5}  final evaluation"]
    for name, members in groups.items():
        results = [job["eval"]["return_mean"] for job in members]
        spread = stdev(results) if len(results) > 1 else math.nan
        lines.append(f"{name:<{width}}  {len(members):>5}  {mean(results):.1f} ± {spread:.1f}")
    return "\n".join(lines)
