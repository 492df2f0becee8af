"""The end of a sweep: a table over seeds, and every job that did not finish."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.atomic_files import write_json
from pgrun.command.app import PGRUN, App
from pgrun.command.overrides import shell_word
from pgrun.errors import escape_line
from pgrun.runs.job_status import read_result
from pgrun.terminal.printing import Tone, say, shorten_folder

if TYPE_CHECKING:
    from pgrun.analysis.compare.table import Row
    from pgrun.command.compose import Job


def report_sweep(folder: Path, expected: Sequence[Job], app: App = PGRUN) -> int:
    """Print and keep how every job of ``expected`` ended, with a table of those that
    finished; how many did not.
    """
    jobs = [
        {**read_result(job.folder, app), "words": list(job.words), "number": n}
        for n, job in enumerate(expected)
    ]
    done = [job for job in jobs if job["status"] == "finished"]
    lost = [job for job in jobs if job["status"] != "finished"]
    say("\n" + (app.table(done) if done else "no job finished"))
    say("\n" + app.hint.format(shlex.quote(shorten_folder(folder))))
    if done:
        write_sweep_page(folder, [job.folder for job in expected], app)
    for line in describe_outcomes(lost):
        say(f"{app.name}: {line}", error=True, tone=Tone.ERROR)
    if lost:
        say(
            f"{app.name}: {len(lost)} of {len(jobs)} jobs did not finish: "
            f"{advise_on_lost_jobs(lost, folder)}",
            error=True,
            tone=Tone.ERROR,
        )
    write_sweep_summary(folder, jobs, app)
    return len(lost)


def describe_outcomes(lost: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each job that was run, and one for all that were not."""
    for job in lost:
        if job["status"] != "not run":
            yield escape_line(f"job {job['number']} ({words_of_job(job)}) {job['status']}: {job['error']}")
    numbers = [str(job["number"]) for job in lost if job["status"] == "not run"]
    if numbers:
        yield f"not run: job{'s' * (len(numbers) > 1)} {', '.join(numbers)}"


def words_of_job(job: Mapping[str, Any]) -> str:
    return " ".join(word.shown for word in job["words"])


def advise_on_lost_jobs(lost: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """``1 failed, 2 not run; the same command goes on with resume=auto hydra.sweep.dir=…``."""
    count = Counter(str(job["status"]) for job in lost)
    told = ", ".join(f"{number} {status}" for status, number in count.items())
    failed = count.pop("failed", 0)
    how = [
        *(["goes on with them with resume=auto"] if count else []),
        *([f"tries the {failed} failed again with resume=retry"] if failed else []),
    ]
    return (
        f"{told}; the same command {', '.join(how)} {shell_word('hydra.sweep.dir', shorten_folder(folder))}"
    )


def write_sweep_summary(folder: Path, jobs: Sequence[Mapping[str, Any]], app: App) -> None:
    """sweep.json: the jobs that were to run and how each ended, also of those that have no folder."""
    told = [{"words": words_of_job(job), "status": job["status"], "error": job.get("error")} for job in jobs]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "sweep.json", {"command": app.name, "jobs": told})
    except OSError as error:
        say(f"{app.name}: no sweep.json: {error}", error=True)


def describe_for_tensorboard(folder: Path, jobs: Sequence[Job], app: App) -> None:
    """What its tab HPARAMS opens on, before the first job: the settings that differ, and returns."""
    if app is not PGRUN:
        return
    from pgrun.command.folder_names import find_differing
    from pgrun.storage.tensorboard_experiment import write_experiment

    swept = find_differing([[word.text for word in job.words] for job in jobs])
    try:
        write_experiment(folder, [job.settings for job in jobs], swept)
    except OSError as error:
        say(f"{app.name}: no record of the sweep for TensorBoard: {error}", error=True)


def write_sweep_page(folder: Path, jobs: Sequence[Path], app: App) -> None:
    """Learning curves with intervals, on a page; a disk that is full does not hide what follows."""
    try:
        page = app.page(folder, jobs) if app.page else None
    except OSError as error:
        say(f"{app.name}: no page of curves: {error}", error=True)
        return
    if page:
        say(
            f"curves over seeds: {shorten_folder(page)}, made again by: pgrun-compare "
            f"{shlex.quote(shorten_folder(folder))} --html FILE"
        )


def format_sweep_table(jobs: Sequence[dict[str, Any]]) -> str:
    """Configuration without seed · seeds · mean and IQM over seeds of the final evaluation, as
    ``pgrun-compare`` has them.

    Words that all jobs share stand above the table, once; what the runs do not show stands below it.
    """
    from pgrun.analysis.compare.report import FINAL, warn_of_indistinct_groups
    from pgrun.analysis.compare.table import format_score_columns, warn_of_few_seeds
    from pgrun.presentation.tables import align_columns

    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for job in jobs:
        words = tuple(
            word.shown
            for word in job["words"]
            if word.key not in ("seed", "seeds") and not word.key.startswith("hydra.")
        )
        groups.setdefault(words, []).append(job)
    shared = set.intersection(*map(set, groups)) if len(groups) > 1 else set()
    rows = [sweep_row(words, members, shared) for words, members in groups.items()]
    common = [word for word in next(iter(groups)) if word in shared]
    warnings = [*warn_of_few_seeds(rows)]
    if len({job.get("env") for job in jobs}) == 1:
        warnings += warn_of_indistinct_groups(sorted(rows, key=lambda sweep_row: -sweep_row.iqm), ())
    return "\n".join(
        [
            *(["all: " + " ".join(common)] if common else []),
            FINAL,
            *align_columns(format_score_columns(rows)),
            *([""] if warnings else []),
            *(f"warning: {line}" for line in warnings),
        ]
    )


def sweep_row(words: Sequence[str], members: Sequence[dict[str, Any]], shared: set[str]) -> Row:
    """What the final evaluations of one configuration say."""
    import numpy as np

    from pgrun.analysis.compare import table

    name = " ".join(word for word in words if word not in shared) or "(defaults)"
    runs = [run for job in members for run in job.get("runs", [{**job, **job["eval"]}])]  # those of `seeds`
    returns = np.array([float(run["return_mean"]) for run in runs])
    envs = tuple(sorted({str(job.get("env")) for job in members}))
    return table.make_score_row(name, envs, [run["seed"] for run in runs], [returns])
