"""Interquartile mean, percentile bootstrap and probability of improvement (Agarwal et
al. 2021, arXiv 2108.13264).

Scores come as strata: one array for each environment. Runs are drawn again within each, so that every
environment keeps its weight; with one environment it is the usual bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0  # the same data give the same interval
CHUNK = 2_000_000  # numbers held at once

Interval = tuple[float, float]


def iqm(x: np.ndarray) -> np.ndarray:
    """Mean without the ⌊n/4⌋ least and the ⌊n/4⌋ greatest, over the last axis."""
    cut = x.shape[-1] // 4
    middle: np.ndarray = np.sort(x, -1)[..., cut : x.shape[-1] - cut].mean(-1)
    return middle


def mean(x: np.ndarray) -> np.ndarray:
    average: np.ndarray = x.mean(-1)
    return average


def bootstrap(
    strata: Sequence[np.ndarray], statistic: Callable[[np.ndarray], np.ndarray], resamples: int = RESAMPLES
) -> Interval:
    """95 % percentile interval of ``statistic`` over the scores of all strata
    together; NaN for fewer than two runs.
    """
    if not can_resample(strata):
        return np.nan, np.nan
    return percentile_interval(resample_statistic(np.random.default_rng(SEED), strata, statistic, resamples))


def can_resample(strata: Sequence[np.ndarray]) -> bool:
    """Whether runs drawn again may be others: some stratum has two."""
    return any(len(x) >= 2 for x in strata)


def resample_statistic(
    rng: np.random.Generator,
    strata: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], np.ndarray],
    resamples: int,
) -> np.ndarray:
    """The statistic of each resample [resamples]."""
    resampled = []
    for size in split_resamples(resamples, sum(map(len, strata))):
        drawn = [x[rng.integers(0, len(x), (size, len(x)))] for x in strata]
        resampled.append(statistic(np.concatenate(drawn, -1)))
    return np.concatenate(resampled)


def difference_interval(
    xs: Sequence[np.ndarray], ys: Sequence[np.ndarray], resamples: int = RESAMPLES
) -> Interval:
    """95 % percentile interval of IQM(X) − IQM(Y), both sides drawn again, each by itself.

    Two intervals that overlap say less: they do so in many cases where this one leaves out 0 (Schenker &
    Gentleman 2001, Am. Stat. 55:182). NaN where one has fewer than two runs in every stratum.
    """
    if not (can_resample(xs) and can_resample(ys)):
        return np.nan, np.nan
    rng = np.random.default_rng(SEED)
    of_x, of_y = (resample_statistic(rng, strata, iqm, resamples) for strata in (xs, ys))
    return percentile_interval(of_x - of_y)


def split_resamples(resamples: int, width: int) -> list[int]:
    size = max(1, CHUNK // max(width, 1))
    return [min(size, resamples - done) for done in range(0, resamples, size)]


def percentile_interval(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> float:
    """P(X > Y) = 1/(nm) ΣᵢΣⱼ S(xᵢ, yⱼ), S = 1, ½ or 0 (ties half): the Mann–Whitney
    statistic, their eq. 3.
    """
    return float(compare_pairs(x, y).mean())


def compare_pairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """S [n, m]."""
    won: np.ndarray = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    return won


def improvement_interval(
    xs: Sequence[np.ndarray], ys: Sequence[np.ndarray], resamples: int = RESAMPLES
) -> tuple[float, Interval]:
    """P(X > Y), the mean over the strata that both have, with its interval: both sides drawn again in each
    stratum. NaN as in ``difference_interval``.
    """
    rng = np.random.default_rng(SEED)
    tables = [compare_pairs(x, y) for x, y in zip(xs, ys, strict=True)]
    value = float(np.mean([table.mean() for table in tables]))
    if not (can_resample(xs) and can_resample(ys)):
        return value, (np.nan, np.nan)
    draws = np.mean([resample_improvement(rng, t, resamples) for t in tables], 0)
    return value, percentile_interval(draws)


def resample_improvement(rng: np.random.Generator, table: np.ndarray, resamples: int) -> np.ndarray:
    """P of each resample, by how often each run was drawn: cᵀ S c′ / (nm)."""
    n, m = table.shape
    c = rng.multinomial(n, np.full(n, 1 / n), resamples)
    d = rng.multinomial(m, np.full(m, 1 / m), resamples)
    shares: np.ndarray = ((c @ table) * d).sum(-1) / (n * m)
    return shares


def bootstrap_curve(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) [G] for values [G, n]: a run is drawn as a whole, for all points of its curve."""
    points, n = values.shape
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, n, (resamples, n))
    ends = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    size = max(1, CHUNK // (resamples * n))
    chunks = [
        np.percentile(statistic(values[i : i + size][:, drawn]), ends, axis=-1)
        for i in range(0, points, size)
    ]
    low, high = np.concatenate(chunks, -1)
    return low, high
