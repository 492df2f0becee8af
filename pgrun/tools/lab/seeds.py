"""Training runs over seeds, as an experiment reads them: grouped by what was typed, with the intervals of
``pgrun-compare``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pgrun.analysis.compare.statistics import bootstrap, improvement_interval, iqm
from pgrun.tools.lab.experiment import Measured

if TYPE_CHECKING:
    from pgrun.tools.lab.commands import JobResult

Groups = dict[tuple[str, ...], list["JobResult"]]
Of = Callable[["JobResult"], float]


def group_by(jobs: Iterable[JobResult], *keys: str) -> Groups:
    """The jobs of each combination of values of ``keys``, in the order they came:
    what is left in a group are its seeds.

    Numbers stand as ``f"{x:g}"``, however they were typed, and true and false in small letters.
    """
    groups: Groups = {}
    for job in jobs:
        groups.setdefault(tuple(normalise_typed(job.words.get(key, "")) for key in keys), []).append(job)
    return groups


def normalise_typed(typed: str) -> str:
    try:
        return f"{float(typed):g}"
    except ValueError:
        return typed.lower() if typed in ("True", "False") else typed


def score_jobs(jobs: Sequence[JobResult], of: Of) -> np.ndarray:
    return np.array([of(job) for job in jobs])


def final_eval_return(job: JobResult) -> float:
    """The mean return of the last evaluation."""
    return float(job.result["eval"]["return_mean"])


def mean_eval_return(job: JobResult) -> float:
    """The mean of all evaluations: how much was learned, and how early."""
    return mean_of("return/eval")(job)


def mean_of(tag: str, first: int | None = None, skip: int = 0) -> Of:
    """The mean of a scalar's rows, of the ``first`` ones, or without some ``skip``."""

    def of(job: JobResult) -> float:
        return float(np.mean(rows_of_scalar(job, tag)[skip:first]))

    return of


def rows_of_scalar(job: JobResult, tag: str) -> np.ndarray:
    """The rows of a scalar, blank ones left out."""
    values = job.metrics[tag]
    rows: np.ndarray = values[~np.isnan(values)]
    return rows


def mean_over_seeds(values: np.ndarray) -> Measured:
    """The mean over seeds with its standard error."""
    return Measured(
        float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    )


def format_iqm(values: np.ndarray) -> str:
    """Interquartile mean and its 95 % bootstrap interval."""
    low, high = bootstrap([values], iqm)
    return f"{float(iqm(values)):.4g} ({low:.4g} … {high:.4g})"


def improvement_over(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """P(X > Y) and its 95 % interval: 1 or 0 where the seeds are apart, and nothing
    is decided where ½ lies inside.
    """
    p, (low, high) = improvement_interval([x], [y])
    return p, low, high


def format_improvement(x: np.ndarray, y: np.ndarray) -> str:
    p, low, high = improvement_over(x, y)
    return f"{p:.2f} ({low:.2f} … {high:.2f})"


def mean_curve(jobs: Sequence[JobResult], tag: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, the mean over seeds) at the rows that all seeds have."""
    tracks = [(job.metrics["env_steps"], job.metrics[tag]) for job in jobs]
    kept = [(steps[~np.isnan(values)], values[~np.isnan(values)]) for steps, values in tracks]
    rows = min(len(values) for _, values in kept)
    return kept[0][0][:rows], np.mean([values[:rows] for _, values in kept], 0)
