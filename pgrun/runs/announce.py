"""Said before a command starts: what runs, where it writes, how to watch it; of a sweep how much it is."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.command.app import PGRUN, App
from pgrun.storage.newest_run import DEPTH, TOP, find_started
from pgrun.terminal.printing import shorten_folder

if TYPE_CHECKING:
    from pgrun.command.compose import Job

LOOKED_AT = 100  # earlier runs, for their speed
LONG = 60.0  # seconds: what is shorter needs no warning
UNITS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "h"), (120, 60, "min"))


def describe_start(job: Job, app: App) -> str:
    """``ppo · gae · CartPole-v1 · seed 0, 100,000 steps; writes to …; watch it: tensorboard --logdir …``."""
    settings = job.settings
    place = f"writes to {shorten_folder(job.folder)}"
    if app is not PGRUN:
        return f"{settings['env']['id']} · seed {settings['seed']}; {place}"
    seeds = settings.get("seeds")
    which = f"seeds {', '.join(map(str, seeds))}" if seeds else f"seed {settings['seed']}"
    steps = f"{int(settings['trainer']['total_steps']):,} steps{' each' * bool(seeds)}"
    return f"{describe_method(settings)} · {which}, {steps}; {place}; {describe_watching(job.folder)}"


def describe_method(settings: Mapping[str, Any]) -> str:
    return f"{settings['algo']['name']} · {settings['variance']['name']} · {settings['env']['id']}"


def describe_watching(folder: Path) -> str:
    """With the other runs beside it, where it lies where they do."""
    top = TOP if folder.parts[:1] == (TOP,) else shorten_folder(folder)
    return f"watch it: tensorboard --logdir {shlex.quote(top)}"


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


def describe_cost(jobs: Sequence[Job], trials: int | None = None) -> str:
    """``about 3 h, one after the other, at the speed of earlier runs``; that it is told later, where none of
    the same algorithm and environment is there; empty of what has no steps, or is short.
    """
    if not all("trainer" in job.settings for job in jobs):
        return ""
    speeds = measure_earlier_speeds()
    if not all(pair_of(job.settings) in speeds for job in jobs):
        return "how long it takes is told after the first"
    seconds = [steps_of(job) / statistics.median(speeds[pair_of(job.settings)]) for job in jobs]
    whole = max(seconds) * trials if trials else sum(seconds)
    if whole < LONG:
        return ""
    return (
        f"{'up to' if trials else 'about'} {format_duration(whole)} one after the other, as earlier runs took"
    )


def pair_of(settings: Mapping[str, Any]) -> tuple[str, str]:
    return str(settings["algo"]["name"]), str(settings["env"]["id"])


def steps_of(job: Job) -> int:
    """Of all its seeds."""
    return len(job.settings.get("seeds") or [0]) * int(job.settings["trainer"]["total_steps"])


def measure_earlier_speeds() -> dict[tuple[str, str], list[float]]:
    """{(algorithm, environment): steps a second, evaluations included} of the newest runs below outputs/."""
    from pgrun.runs.job_status import read_json_object

    speeds: dict[tuple[str, str], list[float]] = {}
    for folder in islice(earlier_runs(), LOOKED_AT):
        summary = read_json_object(folder / PGRUN.result)
        steps, seconds = summary.get("env_steps"), summary.get("wall_seconds")
        if isinstance(steps, int) and isinstance(seconds, int | float) and steps > 0 < seconds:
            pair = str(summary.get("algo")), str(summary.get("env"))
            speeds.setdefault(pair, []).append(steps / seconds)
    return speeds


def earlier_runs() -> Iterator[Path]:
    """The newest first; those of a sweep in any order."""
    for one in sorted(find_started(Path(TOP), DEPTH), key=lambda one: -one.started):
        yield from (
            sorted(path.parent for path in one.folder.glob(f"*/{PGRUN.result}"))
            if one.several
            else [one.folder]
        )


def format_duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for least, unit, name in UNITS:
        if seconds >= least:
            return f"{seconds / unit:.{0 if name == 'min' else 1}f} {name}"
    return f"{seconds:.0f} s"
