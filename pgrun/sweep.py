"""The end of a sweep: a table over seeds, and every job that failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pgrun.app import PGRUN, App
from pgrun.report import shortest
from pgrun.words import Word


def report(folder: Path, expected: Sequence[tuple[Path, Sequence[Word]]], app: App = PGRUN) -> int:
    """Print the table and the failures of the jobs that were to run in ``expected``; how many failed."""
    jobs = [
        {**read(at / app.result), "words": list(words), "number": n} for n, (at, words) in enumerate(expected)
    ]
    done = [job for job in jobs if job["status"] == "finished"]
    failed = [job for job in jobs if job["status"] != "finished"]
    sys.stdout.flush()
    print("\n" + (app.call("table")(done) if done else "no job finished"))
    print("\n" + app.hint.format(shortest(folder)), flush=True)
    for job in failed:
        words = " ".join(word.shown for word in job["words"])
        print(f"{app.name}: job {job['number']} ({words}) {job['status']}: {job['error']}", file=sys.stderr)
    if failed:
        print(f"{app.name}: {len(failed)} of {len(jobs)} jobs did not finish", file=sys.stderr)
    return len(failed)


def read(path: Path) -> dict[str, Any]:
    """What a job's directory says; one that died without a word is a failure too."""
    if path.exists():
        return json.loads(path.read_text())
    return {"status": "failed", "error": "did not run" if not path.parent.exists() else "died without a word"}


def table(jobs: Sequence[dict[str, Any]]) -> str:
    """Configuration without seed · seeds · mean ± standard deviation over seeds of the final evaluation.

    Words that all jobs share stand above the table, once.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for job in jobs:
        words = tuple(word.shown for word in job["words"] if word.key != "seed")
        groups.setdefault(words, []).append(job)
    shared = set.intersection(*map(set, groups)) if len(groups) > 1 else set()
    rows = [("configuration", "seeds", "final evaluation, mean ± std over seeds")]
    for words, members in groups.items():
        name = " ".join(word for word in words if word not in shared) or "(defaults)"
        rows.append((name, seeds(members), result(members)))
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = [f"{a:<{first}}  {b:<{second}}  {c}" for a, b, c in rows]
    common = [word for word in next(iter(groups)) if word in shared]
    return "\n".join([*(["all: " + " ".join(common)] if common else []), *lines])


def seeds(members: Sequence[dict[str, Any]]) -> str:
    """Named where they are few."""
    names = [str(job["seed"]) for job in members]
    return ",".join(names) if len(names) <= 5 else f"{len(names)} seeds"


def result(members: Sequence[dict[str, Any]]) -> str:
    returns = [job["eval"]["return_mean"] for job in members]
    spread = f" ± {stdev(returns):.1f}" if len(returns) > 1 else ""
    return f"{mean(returns):.1f}{spread}"
