"""Refuses a command with everything that is wrong with it, before anything is written."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.types import RunMode

from pgrun.atomic_files import LEADS_OUT, find_link, leads_out
from pgrun.command.app import PGRUN, App
from pgrun.command.claim_folders import is_named_by_us
from pgrun.command.compose import Job, compose_jobs
from pgrun.command.folder_names import number_of
from pgrun.command.hydra_settings import find_wrong_hydra_settings
from pgrun.command.launchers import find_missing_launchers
from pgrun.command.overrides import Command, GivenTwice
from pgrun.command.search_check import find_wrong_search
from pgrun.command.search_settings import FILE
from pgrun.command.stack_check import find_stacked_in_sweep
from pgrun.config.paths import EVENT_FILES
from pgrun.errors import PROGRAM, Mistake, SeveralMistakes
from pgrun.storage.folder_lock import SWEEPING, TRAINING, is_locked
from pgrun.storage.newest_run import RUN, SWEEP
from pgrun.terminal.writable import is_too_long, reason_unwritable

# in a sweep's folder: by Hydra, by its launchers, by its end, by a search
SWEEP_FILES = (
    "multirun.yaml",
    ".submitit",
    "sweep.json",
    "compare.html",
    ".stop",
    "search.json",
    ".bars.json",
    "events.out.tfevents.0.sweep",
)


def compose_and_check(command: Command, again: bool = False) -> list[Job]:
    """The command's jobs; raises ``InvalidCommand``. ``again``: they may have been run before."""
    refuse_all(list(find_missing_launchers(command.words)), command.app.name)
    jobs = compose_jobs(command)
    problems = [*command.problems, *jobs.problems]
    problems += check_jobs(jobs.composed, command.app, whole=not problems)
    problems += check_mode(command, jobs.composed[:1])
    for job in jobs.composed if command.multirun else ():
        problems += find_stacked_in_sweep(job.settings)
    for job in jobs.composed[:1]:
        problems += find_wrong_hydra_settings(command, job)
    problems += find_wrong_search(command, jobs.composed)
    setting = "hydra.sweep.dir" if command.multirun else "hydra.run.dir"
    named = bool(jobs.composed) and is_named_by_us(jobs.composed[0], command.multirun)
    problems += check_folders(jobs.composed, () if again or named else command.app.files, setting)
    refuse_all(problems, command.app.name, jobs.translation)
    return jobs.composed


def refuse_all(problems: Sequence[Mistake], program: str = PGRUN.name, instead: str = "") -> None:
    """Raise one ``InvalidCommand`` of all, what is given twice behind what a name is called here."""
    if problems:
        raise SeveralMistakes(sorted(problems, key=lambda one: isinstance(one, GivenTwice)), program, instead)


def check_jobs(composed: list[Job], app: App, whole: bool) -> Iterator[Mistake]:
    """Each problem once; in a sweep with the first job that has it, unless all have."""
    if not composed:
        return
    jobs_with: dict[Mistake, list[Job]] = {}
    for job in composed:
        for problem in dict.fromkeys(app.check(job, whole)):
            jobs_with.setdefault(problem, []).append(job)
    for problem, those in jobs_with.items():
        yield problem if len(those) == len(composed) else replace(problem, jobs=name_jobs(those, composed))


def name_jobs(those: list[Job], composed: list[Job]) -> str:
    """``algo=a2c variance=none`` — the words that not all jobs have — and how many more."""
    everywhere = set.intersection(*({word.text for word in job.words} for job in composed))
    first = " ".join(word.shown for word in those[0].words if word.text not in everywhere)
    return first + (f" and {len(those) - 1} more" if len(those) > 1 else "")


def check_mode(command: Command, first: list[Job]) -> Iterator[Mistake]:
    """``-m`` alone decides between a run and a sweep: what is checked and reported hangs on it."""
    for job in first:
        if job.hydra.mode not in (None, RunMode.MULTIRUN if command.multirun else RunMode.RUN):
            yield Mistake(
                "hydra.mode",
                job.hydra.mode.name,
                f"type {PROGRAM} instead" if command.multirun else f"type {PROGRAM} -m instead",
            )
        if job.hydra.output_subdir != ".hydra":
            yield Mistake("hydra.output_subdir", None, "a run directory keeps its configuration in .hydra")


def check_folders(composed: list[Job], files: Sequence[str], setting: str) -> Iterator[Mistake]:
    """Run directories that hold a run (one of ``files``), cannot be written, or are the same for two jobs."""
    seen: dict[Path, Job] = {}
    for job in composed:
        place = Path(os.path.normpath(job.folder))
        if place in seen:
            yield Mistake(
                str(job.folder), None, "the folder of two jobs; hydra.sweep.subdir must tell them apart"
            )
            return
        seen[place] = job
        if setting == "hydra.sweep.dir" and place.name in SWEEP_FILES:
            yield Mistake(
                str(job.folder),
                None,
                "a sweep keeps a file of its own there",
                "choose another hydra.sweep.subdir",
            )
            return
        if is_too_long(job.folder):
            yield Mistake(
                str(job.folder), None, f"{os.strerror(errno.ENAMETOOLONG)}", f"choose a shorter {setting}"
            )
            return
        if files and job is composed[0]:
            problem = find_work_under_way(job, setting) or find_other_kind(job, files, setting)
            if problem:
                yield problem
                return
        if files and any(job.folder.glob(EVENT_FILES)) and not holds_any(job.folder, files):
            yield Mistake(
                str(job.folder),
                None,
                "holds a log for TensorBoard that is not of this run",
                f"choose another {setting}, or move it",
            )
            return
        if holds_any(job.folder, (*files, *find_held_runs(job, files))):
            yield Mistake(
                str(job.folder),
                None,
                "holds a run already",
                f"choose another {setting}, go on with resume=auto, or remove it",
            )
            return
    try:
        links = list(links_written(composed, setting))
    except OSError as error:  # of links above it that go in a circle
        yield Mistake(
            str(composed[0].folder), None, f"cannot be written: {error.strerror}", f"choose another {setting}"
        )
        return
    for link in links[:1]:
        yield Mistake(str(link), None, f"is {LEADS_OUT}", f"remove it, or choose another {setting}")
        return
    if files and (problem := find_other_sweep(composed, setting)):
        yield problem
        return
    for folder in list(seen)[:1]:
        if reason := reason_unwritable(folder):
            yield Mistake(str(folder), None, f"cannot be written: {reason}", f"choose another {setting}")


def find_work_under_way(job: Job, setting: str) -> Mistake | None:
    """A run or a sweep in that folder which another process is busy with."""
    folder, under_way = job.folder, TRAINING
    if setting == "hydra.sweep.dir":
        folder, under_way = Path(job.hydra.sweep.dir), SWEEPING
    remedy = f"wait for its end, or choose another {setting}"
    return Mistake(str(folder), None, under_way, remedy) if is_locked(folder) else None


def find_other_kind(job: Job, files: Sequence[str], setting: str) -> Mistake | None:
    """A sweep in the folder of a run, or a run in that of a sweep: neither could be gone on with."""
    in_sweep = setting == "hydra.sweep.dir"
    top = Path(job.hydra.sweep.dir) if in_sweep else job.folder
    if not holds_any(top, (RUN, *files) if in_sweep else (SWEEP,)):
        return None
    kind = "run" if in_sweep else "sweep"
    return Mistake(str(top), None, f"is the folder of a {kind}", f"choose another {setting}")


def find_other_sweep(composed: list[Job], setting: str) -> Mistake | None:
    """Another sweep in the folder of a new one: a search would take its results for those of trials, and
    ``multirun.yaml`` knows only one of them.
    """
    if setting != "hydra.sweep.dir" or not composed:
        return None
    top = Path(composed[0].hydra.sweep.dir)
    if not holds_any(top, (SWEEP, FILE)):
        return None
    remedy = f"choose another {setting}, or go on with that: {shlex.quote(f'resume={top}')}"
    return Mistake(str(top), None, "holds another sweep", remedy)


def holds_any(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / name).exists() for name in names)


def links_written(composed: list[Job], setting: str) -> Iterator[Path]:
    """What leads out where Hydra, the end of a sweep or its jobs would write: a run
    looks after its other files itself.
    """
    for job in composed:
        top = Path(job.hydra.sweep.dir) if setting == "hydra.sweep.dir" else job.folder
        for folder in (job.folder, *(job.folder / str(seed) for seed in seeds_of(job))):
            places = (folder / ".hydra", *(folder / ".hydra").glob("*"), *folder.glob("*.log"))
            yield from filter(None, (find_link(top, place) for place in places))
    if composed and setting == "hydra.sweep.dir" and top.is_dir():
        yield from (top / name for name in os.listdir(top) if is_written(name) and leads_out(top / name))


def is_written(name: str) -> bool:
    """Whether a sweep writes that name in its folder; the trials of a search have numbers too, and are not
    among its jobs.
    """
    return name in SWEEP_FILES or number_of(name) is not None


def seeds_of(job: Job) -> list[Any]:
    seeds = job.settings.get("seeds")
    return seeds if isinstance(seeds, list) else []


def find_held_runs(job: Job, files: Sequence[str]) -> list[str]:
    """The result files of its several seeds."""
    return [f"{seed}/{name}" for seed in seeds_of(job) for name in files]
