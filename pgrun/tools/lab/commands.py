"""The commands of an experiment, run in this process by what the console scripts call."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.command.app import PGRUN, App
from pgrun.errors import Refused
from pgrun.tools.study.cli import STUDY

if TYPE_CHECKING:
    import numpy as np

    from pgrun.command.compose import Job

APPS = {app.name: app for app in (PGRUN, STUDY)}
HERE = "outputs/lab/here"  # as commands name the experiment's own folder
Say = Callable[[str], None]


@dataclass(frozen=True)
class Done:
    """A finished job: the words of its command, what study.json or summary.json holds, and where the rest lies."""

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


def run(lines: Sequence[str], folder: Path, say: Say = lambda _: None) -> list[list[Done]]:
    """The jobs of each command, one after the other: a command may use what one before it has left."""
    return [one(line, folder, folder / str(number), say) for number, line in enumerate(lines)]


def one(line: str, home: Path, folder: Path, say: Say) -> list[Done]:
    say(line)
    name, *words = shlex.split(line.replace(HERE, str(home)))
    app = APPS[name]
    composed = composed_jobs(words, app)
    work = study if app is STUDY else train
    return [
        done(job, work, folder / str(n) if len(composed) > 1 else folder) for n, job in enumerate(composed)
    ]


def composed_jobs(words: list[str], app: App) -> list[Job]:
    """Refused as the command line refuses; folders are the laboratory's."""
    from pgrun.command.compose import jobs
    from pgrun.command.overrides import read
    from pgrun.command.preflight import in_jobs, refuse

    command = read(words, app)
    found = jobs(command)
    problems = [*command.problems, *found.problems]
    refuse([*problems, *in_jobs(found.composed, app, whole=not problems)])
    return found.composed


def done(job: Job, work: Callable[[dict[str, Any], Path], dict[str, Any]], folder: Path) -> Done:
    typed = {word.key: word.shown.partition("=")[2] for word in job.words}
    if "hydra.run.dir" in typed:
        folder = Path(typed["hydra.run.dir"])
    folder.mkdir(parents=True, exist_ok=True)
    return Done(typed, work(job.settings, folder), folder)


def study(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from pgrun.atomic_files import write_json
    from pgrun.tools.study.study import conduct

    result = conduct({key: value for key, value in settings.items() if key != "usual"})
    write_json(folder / "study.json", result)
    return result


def train(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from pgrun.training.build import build
    from pgrun.training.loop import train

    quiet = {**settings, "logger": {**settings["logger"], "progress": False}}
    return train(build(quiet), folder)


def only(jobs: Sequence[Done]) -> Done:
    """Of a command that is no sweep."""
    if len(jobs) != 1:
        raise Refused(f"{len(jobs)} jobs, where one was expected")
    return jobs[0]
