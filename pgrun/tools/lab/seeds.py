"""Training runs over seeds, as an experiment reads them: grouped by what was typed, with the intervals of
``pgrun-compare``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pgrun.analysis.compare.curves import sample_on_grid
from pgrun.analysis.compare.metrics import Metrics
from pgrun.analysis.compare.read_runs import Run
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
    """The mean of all evaluations: how much was learned, and how early.

    Each counts alike, however many steps lie between them. They are evenly spaced up to an update's steps;
    with ``sampler=episodes`` an update takes more steps as episodes grow longer, and then the late ones are
    fewer, so that a step early in the run counts for more than a late one.
    """
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
    """(environment steps, the mean over seeds) at every step at which some seed has a value, from the first
    at which all have.

    Between two of its rows a seed is on the straight line, and after its last one it keeps that value. Seeds
    with the same steps are averaged row by row.
    """
    runs = [as_finished_run(job, tag) for job in jobs]
    grid = np.unique(np.concatenate([run.metrics.track(tag)[0] for run in runs]))
    values = sample_on_grid(runs, tag, grid)
    all_begun = ~np.isnan(values).any(1)
    return grid[all_begun], np.mean(list(values[all_begun].T), 0)


def as_finished_run(job: JobResult, tag: str) -> Run:
    """The rows of one scalar, as the curves of ``pgrun-compare`` take them."""
    metrics = Metrics(job.metrics["env_steps"], {tag: job.metrics[tag]})
    return Run(job.folder, {}, (), 0, finished=True, score=None, metrics=metrics)
