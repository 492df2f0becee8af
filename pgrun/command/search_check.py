"""What is wrong with a search, beside its jobs; and going on with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import OmegaConf

from pgrun.command.app import PGRUN
from pgrun.command.compose import Job
from pgrun.command.folder_names import JOB_NAME
from pgrun.command.overrides import Command
from pgrun.command.search_settings import CHOICE, Search, asks_for_search
from pgrun.command.search_storage import find_wrong_storage
from pgrun.config.schema import construct_from_settings, find_violations
from pgrun.errors import Mistake

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def find_wrong_search(command: Command, jobs: Sequence[Job]) -> Iterator[Mistake]:
    """``jobs``: the corners of what is searched."""
    chosen = [job for job in jobs[:1] if job.choices.get("hydra/sweeper") == CHOICE]
    if chosen and not asks_for_search(command):
        yield Mistake("hydra/sweeper", CHOICE, "a search is asked for in the command", "type it there")
    if not asks_for_search(command) or not chosen:
        return
    if command.app is not PGRUN:
        yield Mistake("hydra/sweeper", CHOICE, "only pgrun's runs are searched")
    job = chosen[0]
    given = read_sweeper_settings(job)
    wrong = list(find_violations("hydra.sweeper.", given, Search))
    yield from wrong
    if len(jobs) == 1:
        yield Mistake(
            "nothing to search",
            None,
            "give a setting several values, such as 'optimizer.lr=tag(log,interval(1e-4,1e-2))'",
        )
    if not wrong:
        yield from find_wrong_job_count(given["n_jobs"], job)
        yield from find_wrong_storage(given)
    if hydra_part(job, "sweep")["subdir"] != JOB_NAME:
        yield Mistake(
            "hydra.sweep.subdir",
            None,
            "the trials of a search lie in folders by their numbers",
            "leave it out",
        )


def find_wrong_job_count(n_jobs: int, job: Job) -> Iterator[Mistake]:
    """A launcher for several, and several for it."""
    basic = hydra_part(job, "launcher")["_target_"] == BASIC
    if basic and n_jobs > 1:
        yield Mistake(
            "hydra.sweeper.n_jobs",
            n_jobs,
            "one trial at a time without a launcher for more",
            "add hydra/launcher=parallel",
        )
    if not basic and n_jobs == 1:
        yield Mistake(
            "hydra.sweeper.n_jobs",
            "1",
            "the launcher would have one trial at a time",
            "set it to as many as are to run at once",
        )


def read_sweeper_settings(job: Job) -> dict[str, Any]:
    return {key: value for key, value in hydra_part(job, "sweeper").items() if key != "_target_"}


def hydra_part(job: Job, part: str) -> dict[str, Any]:
    return OmegaConf.to_container(job.hydra[part], resolve=False)  # type: ignore[return-value]


def search_settings_of(job: Job) -> Search:
    return construct_from_settings(Search, read_sweeper_settings(job))
