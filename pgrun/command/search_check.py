"""What is wrong with a search, beside its jobs; and going on with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pgrun.command.app import PGRUN
from pgrun.command.compose import NUMBERED, Job
from pgrun.command.overrides import Command
from pgrun.command.search_settings import CHOICE, FILE, Search, searched, there
from pgrun.config.schema import construct, violations

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def misfits(command: Command, jobs: Sequence[Job], again: bool) -> Iterator[str]:
    """``jobs``: the corners of what is searched. ``again``: it may have begun before."""
    chosen = [job for job in jobs[:1] if job.choices.get("hydra/sweeper") == CHOICE]
    if chosen and not searched(command):
        yield f"hydra/sweeper={CHOICE}: a search is asked for in the command: type it there"
    if not searched(command) or not chosen:
        return
    if command.app is not PGRUN:
        yield f"hydra/sweeper={CHOICE}: only pgrun's runs are searched"
    job = chosen[0]
    given = sweeper(job)
    wrong = list(violations("hydra.sweeper.", given, Search))
    yield from wrong
    if len(jobs) == 1:
        yield "nothing to search: give a setting several values, such as 'optimizer.lr=tag(log,interval(1e-4,1e-2))'"
    if not wrong:
        yield from at_once(given["n_jobs"], job)
    if raw(job, "sweep")["subdir"] != NUMBERED:
        yield "hydra.sweep.subdir: the trials of a search lie in folders by their numbers; leave it out"
    if there(Path(job.hydra.sweep.dir)) and not again:
        yield f"{Path(job.hydra.sweep.dir)} holds a search already ({FILE}): go on with resume=auto, or choose another hydra.sweep.dir"


def at_once(n_jobs: int, job: Job) -> Iterator[str]:
    """A launcher for several, and several for it."""
    basic = raw(job, "launcher")["_target_"] == BASIC
    if basic and n_jobs > 1:
        yield f"hydra.sweeper.n_jobs={n_jobs}: one trial at a time without a launcher for more: add hydra/launcher=parallel"
    if not basic and n_jobs == 1:
        yield "hydra.sweeper.n_jobs=1: the launcher would have one trial at a time: set it to as many as are to run at once"


def sweeper(job: Job) -> dict[str, Any]:
    return {key: value for key, value in raw(job, "sweeper").items() if key != "_target_"}


def raw(job: Job, part: str) -> dict[str, Any]:
    return OmegaConf.to_container(job.hydra[part], resolve=False)  # type: ignore[return-value]


def settings(job: Job) -> Search:
    return construct(Search, sweeper(job))
