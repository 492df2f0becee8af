"""The commands of an experiment, run in this process by what the console scripts call."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.command.app import PGRUN, App
from pgrun.errors import InvalidCommand
from pgrun.tools.study.cli import STUDY

if TYPE_CHECKING:
    import numpy as np

    from pgrun.command.compose import Job

APPS = {app.name: app for app in (PGRUN, STUDY)}
HERE = "outputs/lab/here"  # as commands name the experiment's own folder
Say = Callable[[str], None]


@dataclass(frozen=True)
class JobResult:
    """A finished job: the words of its command, what study.json or summary.json
    holds, and where the rest lies.
    """

    words: dict[str, str]
    result: dict[str, Any]
    folder: Path

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """Every scalar of metrics.csv, NaN where a row has none."""
        import csv

        import numpy as np

        with (self.folder / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0]}


def run_command_lines(lines: Sequence[str], folder: Path, say: Say = lambda _: None) -> list[list[JobResult]]:
    """The jobs of each command, one after the other: a command may use what one before it has left."""
    return [run_command_line(line, folder, folder / str(number), say) for number, line in enumerate(lines)]


def run_command_line(line: str, home: Path, folder: Path, say: Say) -> list[JobResult]:
    say(line)
    name, *words = shlex.split(line.replace(HERE, str(home)))
    app = APPS[name]
    composed = compose_lab_jobs(words, app)
    work = study_into_folder if app is STUDY else train_into_folder
    return [
        run_job_once(job, work, folder / str(n) if len(composed) > 1 else folder)
        for n, job in enumerate(composed)
    ]


def compose_lab_jobs(words: list[str], app: App) -> list[Job]:
    """InvalidCommand as the command line refuses; folders are the laboratory's."""
    from pgrun.command.compose import compose_jobs
    from pgrun.command.overrides import read_command
    from pgrun.command.preflight import check_jobs, refuse_all

    command = read_command(words, app)
    jobs = compose_jobs(command)
    problems = [*command.problems, *jobs.problems]
    refuse_all([*problems, *check_jobs(jobs.composed, app, whole=not problems)], app.name)
    return jobs.composed


def run_job_once(job: Job, work: Callable[[dict[str, Any], Path], dict[str, Any]], folder: Path) -> JobResult:
    typed = {word.key: word.shown.partition("=")[2] for word in job.words}
    if "hydra.run.dir" in typed:
        folder = Path(typed["hydra.run.dir"])
    folder.mkdir(parents=True, exist_ok=True)
    return JobResult(typed, work(job.settings, folder), folder)


def study_into_folder(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from pgrun.atomic_files import write_json
    from pgrun.tools.study.study import run_study

    result = run_study({key: value for key, value in settings.items() if key != "usual"})
    write_json(folder / "study.json", result)
    return result


def train_into_folder(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from pgrun.training.build import build_run
    from pgrun.training.loop import train_run

    quiet = {**settings, "logger": {**settings["logger"], "progress": False}}
    return train_run(build_run(quiet), folder)


def only_result(jobs: Sequence[JobResult]) -> JobResult:
    """The one result of a command that is no sweep."""
    if len(jobs) != 1:
        raise InvalidCommand(f"{len(jobs)} jobs", None, "one was expected")
    return jobs[0]
