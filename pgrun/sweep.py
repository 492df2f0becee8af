"""The end of a sweep: a table over seeds, and every job that failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.app import PGRUN, App
from pgrun.report import shortest
from pgrun.words import Word

if TYPE_CHECKING:
    from pgrun.compare.table import Row


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
    if app.page and done:
        picture(folder, [at for at, _ in expected], app)
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


def picture(folder: Path, jobs: Sequence[Path], app: App) -> None:
    """Learning curves with intervals, on a page; a disk that is full does not hide what follows."""
    try:
        page = app.call("page")(folder, jobs)
    except OSError as error:
        print(f"{app.name}: no page of curves: {error}", file=sys.stderr)
        return
    if page:
        print(
            f"curves over seeds: {shortest(page)}, made again by: pgrun-compare {shortest(folder)} --html FILE",
            flush=True,
        )


def table(jobs: Sequence[dict[str, Any]]) -> str:
    """Configuration without seed · seeds · mean and IQM over seeds of the final evaluation, as ``pgrun-compare`` has them.

    Words that all jobs share stand above the table, once; what the runs do not show stands below it.
    """
    from pgrun.compare.report import FINAL, indistinct
    from pgrun.compare.table import columns, few_seeds, lines

    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for job in jobs:
        words = tuple(word.shown for word in job["words"] if word.key != "seed")
        groups.setdefault(words, []).append(job)
    shared = set.intersection(*map(set, groups)) if len(groups) > 1 else set()
    rows = [row(words, members, shared) for words, members in groups.items()]
    common = [word for word in next(iter(groups)) if word in shared]
    warnings = [*few_seeds(rows)]
    if len({job.get("env") for job in jobs}) == 1:
        warnings += indistinct(sorted(rows, key=lambda row: -row.iqm), ())
    return "\n".join(
        [
            *(["all: " + " ".join(common)] if common else []),
            FINAL,
            *lines(columns(rows)),
            *([""] if warnings else []),
            *(f"warning: {line}" for line in warnings),
        ]
    )


def row(words: Sequence[str], members: Sequence[dict[str, Any]], shared: set[str]) -> Row:
    """What the final evaluations of one configuration say."""
    import numpy as np

    from pgrun.compare import table

    name = " ".join(word for word in words if word not in shared) or "(defaults)"
    returns = np.array([float(job["eval"]["return_mean"]) for job in members])
    return table.row(name, [job["seed"] for job in members], [returns])
