"""Learning curves on a grid that all seeds share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.read_runs import Run
from pgrun.analysis.compare.statistics import bootstrap_curve

POINTS = 200
RESAMPLES = 1000  # of a curve's interval: read off a picture
LOG_FROM = 100  # times from the least to the greatest, and an axis is logarithmic


@dataclass(frozen=True)
class Curve:
    """``low`` and ``high`` are NaN where fewer than two runs have a value. ``number``: the group's colour."""

    label: str
    number: int
    steps: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Panel:
    """One scalar in one environment."""

    env: str
    tag: str
    curves: tuple[Curve, ...]

    @property
    def log(self) -> bool:
        """Whether y is logarithmic: what is drawn is positive and spans two decades; never for returns, which
        may have any sign.
        """
        values = np.concatenate([curve.middle for curve in self.curves])
        return bool(
            not self.tag.startswith("return/")
            and values.size
            and values.min() > 0
            and values.max() > LOG_FROM * values.min()
        )


def make_panels(
    groups: Sequence[Group], tags: Sequence[str], statistic: Callable[[np.ndarray], np.ndarray]
) -> list[list[Panel]]:
    """A row for each environment, a column for each scalar."""
    envs = list(dict.fromkeys(env for group in groups for env in group.envs))
    return [[make_panel(groups, env, tag, statistic) for tag in tags] for env in envs]


def make_panel(
    groups: Sequence[Group], env: str, tag: str, statistic: Callable[[np.ndarray], np.ndarray]
) -> Panel:
    numbered = [(n, g, [run for run in g.runs if run.env == env]) for n, g in enumerate(groups)]
    end = max((run.metrics.last for _, _, runs in numbered for run in runs), default=0)
    grid = np.linspace(0, end, POINTS + 1)[1:]
    curves = [make_curve(g.label, n, runs, tag, grid, statistic) for n, g, runs in numbered if runs]
    return Panel(env, tag, tuple(curve for curve in curves if len(curve.steps)))


def make_curve(
    label: str,
    number: int,
    runs: Sequence[Run],
    tag: str,
    grid: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
) -> Curve:
    """The statistic over seeds at every point of ``grid`` where at least half of the runs have a value."""
    over = max(run.metrics.last for run in runs)
    grid = grid[: int(np.searchsorted(grid, over)) + 1]
    values = sample_on_grid(runs, tag, grid)
    count = (~np.isnan(values)).sum(1)
    drawn = (count > 0) & (2 * count >= len(runs))
    values, count, steps = values[drawn], count[drawn], grid[drawn]
    middle, low, high = (np.full(len(steps), np.nan) for _ in range(3))
    there = ~np.isnan(values)
    for pattern in np.unique(there, axis=0):  # few: seeds start and end one after the other
        rows = (there == pattern).all(1)
        whole = values[rows][:, pattern]
        middle[rows] = statistic(whole)
        if pattern.sum() > 1:
            low[rows], high[rows] = bootstrap_curve(whole, statistic, RESAMPLES)
    return Curve(label, number, steps, middle, low, high)


def sample_on_grid(runs: Sequence[Run], tag: str, grid: np.ndarray) -> np.ndarray:
    """The value at each point [G, runs], on the straight line between the rows beside it. NaN before a run's
    first value.

    A finished run keeps its last value (it stopped because it was done) until the group's last row; an
    unfinished one has none after its own.
    """
    sampled = np.full((len(grid), len(runs)), np.nan)
    for column, run in enumerate(runs):
        steps, values = run.metrics.track(tag)
        finite = np.isfinite(values)
        steps, values = steps[finite], values[finite]
        if not len(steps):
            continue
        there = grid >= steps[0]
        if not run.finished:
            there &= grid <= run.metrics.last
        sampled[there, column] = np.interp(grid[there], steps, values)
    return sampled
