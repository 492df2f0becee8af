"""Said before a sweep starts: how much it is. A preset such as ``experiment=ablate`` may be days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgrun.command.compose import Job


def describe_size(jobs: Sequence[Job], trials: int | None = None) -> str:
    """``45 jobs of 1,000,000 steps: 45,000,000 in all``.

    ``trials`` of a search, whose ``jobs`` are only its corners.
    """
    seeds = [len(job.settings.get("seeds") or [0]) for job in jobs]
    count = trials or len(jobs)
    shown = f"{count:,} {'trial' if trials else 'job'}{'s' * (count > 1)}"
    if max(seeds) > 1:
        shown += f" of {format_range(seeds)} seeds each"
    if not all("trainer" in job.settings for job in jobs):  # a study has episodes, which its schemes share
        return shown
    steps = [int(job.settings["trainer"]["total_steps"]) for job in jobs]
    total = [runs * n for runs, n in zip(seeds, steps, strict=True)]
    whole = f"up to {trials * max(total):,}" if trials else f"{sum(total):,}"
    return f"{shown}, {format_range(steps)} steps a run: {whole} in all"


def format_range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
