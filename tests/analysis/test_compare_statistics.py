"""Intervals of pgrun-compare against scipy's, against closed forms, and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from pgrun.analysis.compare import statistics
from pgrun.analysis.compare.statistics import (
    bootstrap,
    bootstrap_curve,
    difference_interval,
    improvement_interval,
    iqm,
    mean,
    probability_of_improvement,
)

DATA = np.array([489.7, 500.0, 279.45, 412.3, 500.0, 164.25, 301.1])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 20, 101])
def test_iqm_is_scipys_trimmed_mean(n: int) -> None:
    x = np.random.default_rng(n).standard_cauchy((3, n))
    assert iqm(x) == pytest.approx(stats.trim_mean(x, 0.25, axis=-1), rel=1e-12)  # sums in another order


def trimmed(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return stats.trim_mean(x, 0.25, axis=axis)


@pytest.mark.parametrize(("ours", "theirs"), [(iqm, trimmed), (mean, np.mean)])
def test_the_bootstrap_is_scipys(ours, theirs) -> None:
    """With the same draws, to the last digits."""
    confidence_interval = stats.bootstrap(
        (DATA,),
        theirs,
        n_resamples=statistics.RESAMPLES,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(statistics.SEED),
    ).confidence_interval
    assert bootstrap([DATA], ours) == pytest.approx(
        (confidence_interval.low, confidence_interval.high), rel=1e-12
    )


def test_it_is_the_same_every_time_and_in_any_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    first = bootstrap([DATA], iqm)
    assert bootstrap([DATA], iqm) == first
    monkeypatch.setattr(statistics, "CHUNK", 1001)
    assert bootstrap([DATA], iqm) == first


def test_the_difference_s_interval_is_scipys() -> None:
    """Of two samples, each drawn by itself; their draws are others, so to Monte Carlo's error."""
    other = DATA[:5] - 150
    theirs = stats.bootstrap(
        (DATA, other),
        lambda x, y, axis: trimmed(x, axis) - trimmed(y, axis),
        n_resamples=100_000,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert difference_interval([DATA], [other]) == pytest.approx((theirs.low, theirs.high), abs=8)
    low, high = bootstrap([DATA], iqm)
    assert difference_interval([DATA], [np.zeros(9)]) == pytest.approx((low, high), abs=8)
    assert np.isnan(difference_interval([DATA], [DATA[:1]])).all()


def test_strata_keep_their_weight() -> None:
    """Two environments without noise have no interval together; drawn as one heap they would."""
    strata = [np.full(4, 1.0), np.full(4, 3.0)]
    assert bootstrap(strata, mean) == (2.0, 2.0)
    low, high = bootstrap([np.concatenate(strata)], mean)
    assert low < 1.6 < 2.4 < high


def test_every_resample_of_two_strata() -> None:
    """The percentiles of all 2²·3³ equally likely resamples, enumerated."""
    strata = [np.array([0.0, 1.0]), np.array([5.0, 6.0, 9.0])]
    drawn = [itertools.product(x, repeat=len(x)) for x in strata]
    every = [np.mean([*a, *b]) for a, b in itertools.product(*(list(d) for d in drawn))]
    low, high = np.percentile(every, [2.5, 97.5])
    # a percentile of few distinct values jumps by at most their distance where 10 000 draws round it off
    step = np.diff(np.unique(np.round(every, 9))).max()
    assert bootstrap(strata, mean) == pytest.approx((low, high), abs=step + 1e-9)


@pytest.mark.parametrize("n", [5, 20])
def test_coverage_of_the_mean(n: int) -> None:
    """Of normal scores: the interval is about ±1.96 s√((n−1)/n)/√n, so it covers as often as |t| < 1.96
    √((n−1)/n) with n − 1 degrees of freedom: 84.6 % for 5, 92.8 % for 20. That is why few seeds are warned
    of.
    """
    trials = 2000
    x = np.random.default_rng(1).normal(7.0, 3.0, (trials, n))
    hits = 0
    for row in x:
        low, high = bootstrap([row], mean, 500)
        hits += low <= 7.0 <= high
    expected = 1 - 2 * stats.t.sf(1.96 * np.sqrt((n - 1) / n), n - 1)
    # three standard errors of 2000 trials, and a point for the bootstrap's own shape
    # (lighter tails than a normal)
    assert hits / trials == pytest.approx(
        expected, abs=3 * np.sqrt(expected * (1 - expected) / trials) + 0.01
    )


def test_coverage_of_the_iqm() -> None:
    """Skewed scores, 40 seeds: near 95 %, and far below with an interval of half the width
    (negative control).
    """
    rng, trials = np.random.default_rng(2), 600
    truth = iqm(rng.exponential(size=(200, 20_000))).mean()
    hits = halved = 0
    for x in rng.exponential(size=(trials, 40)):
        low, high = bootstrap([x], iqm, 500)
        center, half = (low + high) / 2, (high - low) / 4
        hits += low <= truth <= high
        halved += center - half <= truth <= center + half
    # three standard errors of 600 trials (0.027), and a percentile interval of skewed data falls short by a
    # point or two
    assert 0.90 < hits / trials < 0.98
    assert halved / trials < 0.75


def brute(x: np.ndarray, y: np.ndarray) -> float:
    """Every pair, one at a time; a tie counts half."""
    points = 0.0
    for a in x:
        for b in y:
            points += 1.0 if a > b else 0.5 if a == b else 0.0
    return points / (len(x) * len(y))


@pytest.mark.parametrize("seed", range(5))
def test_improvement_is_a_count_of_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, rng.integers(1, 9)), rng.integers(1, 7, rng.integers(1, 9))
    assert probability_of_improvement(x, y) == pytest.approx(brute(x, y), rel=1e-12)
    assert probability_of_improvement(x, y) == pytest.approx(1 - probability_of_improvement(y, x), rel=1e-12)
    u = stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert probability_of_improvement(x, y) == pytest.approx(u, rel=1e-12)


def test_improvement_interval_is_that_of_resampled_scores() -> None:
    """Drawn by counts here; the scores themselves drawn and counted there."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(1, 1, 8), rng.normal(0, 1, 6)
    value, (low, high) = improvement_interval([x], [y])
    drawn = [brute(rng.choice(x, 8), rng.choice(y, 6)) for _ in range(3000)]
    assert value == pytest.approx(brute(x, y))
    expected = np.percentile(drawn, [2.5, 97.5])
    assert (low, high) == pytest.approx(expected, abs=0.03)  # 1.5 pairs of 48: a percentile of 3000 draws


def test_improvement_over_environments_is_the_mean() -> None:
    xs, ys = [np.array([2.0, 2.0]), np.array([0.0])], [np.array([1.0]), np.array([1.0, 1.0, 1.0])]
    assert improvement_interval(xs, ys) == (0.5, (0.5, 0.5))


def test_one_seed_has_no_interval() -> None:
    assert np.isnan(bootstrap([np.array([3.0])], iqm)).all()
    assert np.isnan(bootstrap([], iqm)).all()
    value, ends = improvement_interval([np.array([3.0])], [np.array([2.0])])
    assert value == 1
    assert np.isnan(ends).all()


def test_one_seed_on_either_side_is_no_interval_of_improvement() -> None:
    """By the difference's condition: a side without two runs in any stratum is not drawn again."""
    one, few = np.array([99.0]), np.array([100.0, 101.0, 102.0])
    for xs, ys in (([few], [one]), ([one], [few]), ([few, few], [one, one])):
        value, ends = improvement_interval(xs, ys)
        assert value == float(xs[0][0] > ys[0][0])
        assert np.isnan(ends).all()
        assert np.isnan(difference_interval(xs, ys)).all()
    assert improvement_interval([few, few], [one, one - [0, 1]]) == (1.0, (1.0, 1.0))


def test_bands_are_bootstraps_of_every_point() -> None:
    values = np.random.default_rng(4).normal(size=(7, 5))
    low, high = bootstrap_curve(values, iqm, 1000)
    for i, row in enumerate(values):
        assert (low[i], high[i]) == pytest.approx(bootstrap([row], iqm, 1000), rel=1e-12)
