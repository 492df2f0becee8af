"""What is allowed and yet may not be what was meant: one line each, before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgrun.command.compose import Job
from pgrun.command.validate import classes_chosen, constant_baseline
from pgrun.config.settings import CENTERING
from pgrun.envs.wrappers import find_statistics


def find_notices(jobs: Sequence[Job]) -> list[str]:
    """Lines about the jobs of a command, each once."""
    lines = (line for job in jobs for line in (*cancelled_baseline(job), *wrappers_with_statistics(job)))
    return list(dict.fromkeys(lines))


def wrappers_with_statistics(job: Job) -> Iterator[str]:
    return find_statistics(job.settings["env"]["wrappers"])


def cancelled_baseline(job: Job) -> Iterator[str]:
    """Centring Ψ puts the batch's mean in the place of every constant baseline."""
    settings = job.settings
    norm, name = settings["advantage_norm"], settings["variance"]["name"]
    if norm in CENTERING and constant_baseline(settings, classes_chosen(settings)):
        yield (
            f"advantage_norm={norm} subtracts the batch's mean from Ψ, whatever constant variance={name} "
            "subtracts: none, mean_baseline and leave_one_out become the same estimator; "
            "advantage_norm=scale keeps them apart"
        )
