"""A folder for a command whose user has named none: new, and this command's alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict

from pgrun.command.compose import Job
from pgrun.command.folder_names import OURS


def is_named_by_us(job: Job, multirun: bool) -> bool:
    """Whether the folder's name is made here, rather than typed or written in a file."""
    part: Any = OmegaConf.to_container(job.hydra["sweep" if multirun else "run"], resolve=False)
    return any(name in str(part["dir"]) for name in OURS)


def claim_folders(jobs: Sequence[Job], multirun: bool) -> list[Job]:
    """The jobs, in a new folder where the name is made here: of two commands in the same second the later one
    gets ``…_2``.
    """
    if not is_named_by_us(jobs[0], multirun):
        return list(jobs)
    top = Path(jobs[0].hydra.sweep.dir) if multirun else jobs[0].folder
    top.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        claimed = top if number == 1 else top.with_name(f"{top.name}_{number}")
        try:
            claimed.mkdir()
            break
        except FileExistsError:
            continue
    if not multirun:
        return [replace(jobs[0], folder=claimed)]
    for job in jobs:
        with open_dict(job.hydra):
            job.hydra.sweep.dir = str(claimed)
    return [replace(job, folder=claimed / job.folder.relative_to(top)) for job in jobs]
