"""The statistics of a study: on data whose truth is known, and their intervals over thousands of repeats."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import NoCritic
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.score import Reference, summarise_estimates, variance_and_error, variance_interval
from pgrun.tools.study.study import standard_error_of_mean
from pgrun.variance.base import Scheme
from pgrun.variance.leave_one_out import LeaveOneOut
from pgrun.variance.none import None_
from pgrun.variance.optimal_baseline import OptimalBaseline
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers import support_one_state

T, CHANCE = 3, 0.6
REPEATS = 4000  # the standard error of a coverage of 95 % is 0.34 %: 93 to 97 % is six of them


def all_episodes() -> tuple[Policy, Arrays, Tensor]:
    """FixedHorizon: T steps that look alike, action 1 earns 1; every sequence of
    actions once, with its probability.
    """
    theta = torch.tensor([math.log(1 - CHANCE), math.log(CHANCE)], dtype=torch.float64)
    policy = Policy(Mlp([1, 2], bias=False), Categorical(2), theta, NoStateNorm())
    action = np.array(list(product((0, 1), repeat=T))).T
    last = np.arange(T)[:, None] + np.zeros_like(action) == T - 1
    time = np.arange(T)[:, None] + np.zeros_like(action)
    arrays = Arrays(
        obs=np.ones((T + 1, 2**T, 1)),
        action=action,
        reward=action.astype(float),
        terminated=last,
        ended=last,
        mask=np.ones_like(last),
        time=time,
    )
    ones = torch.from_numpy(action).sum(0).double()
    return policy, arrays, CHANCE**ones * (1 - CHANCE) ** (T - ones)


def gradients(scheme: Scheme, chosen: np.ndarray | slice = slice(None), batch: int = 1) -> Tensor:
    """ĝ of the training functions for some columns, in groups."""
    policy, arrays, _ = all_episodes()
    some = Arrays(**{name: None if x is None else x[:, chosen] for name, x in vars(arrays).items()})
    rollout = some.to_rollout(policy, NoRewardScale(), some.mask.shape[1], whole=True)
    return Seen(policy, rollout, NoCritic()).estimates(Estimator(scheme, 1.0), batch)


def test_moments_of_gaussian_estimates() -> None:
    rng = torch.Generator().manual_seed(0)
    truth = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    g = (
        truth
        + torch.tensor([0.3, 0.0, 0.4])
        + scale * torch.randn(20_000, 3, generator=rng, dtype=torch.float64)
    )
    summary = summarise_estimates(g, Reference("exact", truth))
    assert abs(summary.variance - 5.25) < 4 * summary.variance_se
    assert summary.variance_se == pytest.approx(
        math.sqrt(2 * (1 + 16 + 0.0625) / 20_000), rel=0.1
    )  # 4 SE of an SE
    assert summary.variance_low < summary.variance < summary.variance_high
    assert summary.bias_along is not None
    assert summary.bias_se is not None
    assert abs(summary.bias_along - 0.5) < 4 * summary.bias_se
    assert summary.bias_se == pytest.approx(math.sqrt((0.36 * 1 + 0.64 * 0.25) / 20_000), rel=0.03)
    assert summary.bias_norm == pytest.approx(0.5, abs=4 * math.sqrt(5.25 / 20_000))
    assert summary.mse == pytest.approx(summary.variance * (1 - 1 / 20_000) + summary.bias_norm**2, rel=1e-9)


@pytest.mark.parametrize(("signal", "least"), [(5.0, 0.85), (0.5, 0.75)])
def test_a_sampled_reference_adds_its_own_error_and_no_bias_of_its_own(signal: float, least: float) -> None:
    """z is standard normal where both are unbiased; where the reference is mostly noise, in 100 dimensions,
    the jackknife over it is on the safe side, by up to √2. The direction from the samples that are compared
    would look like a bias: ``naive``.

    Four standard errors of the standard deviation of 400 repeats are 0.14.
    """
    rng = torch.Generator().manual_seed(1)
    z, naive = [], []
    for _ in range(400):
        samples = signal + torch.randn(40, 100, generator=rng, dtype=torch.float64) * 5
        g = signal + torch.randn(100, 100, generator=rng, dtype=torch.float64) * 5
        summary = summarise_estimates(g, Reference.sampled(samples))
        z.append(summary.bias_z)
        r = samples.mean(0)
        naive.append(float((g.mean(0) - r) @ r / r.norm()) / float(summary.bias_se or 0))
    values = torch.tensor(z, dtype=torch.float64)
    assert abs(values.mean()) < 4 / 20  # 400 repeats
    assert least < values.std() < 1.15
    assert np.mean(naive) < -1


def test_no_variance_and_no_gradient_are_blank_and_not_infinite() -> None:
    summary = summarise_estimates(torch.zeros(5, 2), Reference("exact", torch.zeros(2).double()))
    assert (summary.variance, summary.variance_low, summary.variance_high) == (0, 0, 0)
    assert summary.bias_z is None
    assert summary.cosine is None


def test_cosines() -> None:
    g = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    summary = summarise_estimates(g, Reference("exact", torch.tensor([1.0, 0.0]).double()))
    assert summary.cosine == pytest.approx(1 / 3)
    assert summary.agreement == pytest.approx(0)
    assert summarise_estimates(
        g[:1].repeat(4, 1), Reference("exact", g[0].double())
    ).agreement == pytest.approx(1)


@pytest.mark.parametrize("kind", ["scalar", "per_parameter", "per_step"])
def test_groups_at_once_are_groups_one_by_one(kind: str) -> None:
    chosen = np.random.default_rng(0).integers(0, 2**T, 12)
    for scheme in (OptimalBaseline(kind=kind), LeaveOneOut(returns="reward_to_go")):  # type: ignore[arg-type]
        together = gradients(scheme, chosen, 4)
        apart = torch.cat([gradients(scheme, chosen[i : i + 4], 4) for i in (0, 4, 8)])
        assert torch.allclose(together, apart, rtol=1e-12, atol=1e-12)


def coverage(table: Tensor, chance: Tensor, estimates: int, seed: int = 0) -> float:
    """How often the interval of M draws from ``table`` [K, P] holds the true variance."""
    mean = chance @ table
    truth = float(chance @ (table - mean).square().sum(1))
    rng = torch.Generator().manual_seed(seed)
    reference, hits = Reference("exact", mean), 0
    for _ in range(REPEATS):
        drawn = table[torch.multinomial(chance, estimates, replacement=True, generator=rng)]
        summary = summarise_estimates(drawn, reference)
        hits += summary.variance_low <= truth <= summary.variance_high
    return hits / REPEATS


@pytest.mark.parametrize("scheme", [None_(), RewardToGo()])
def test_intervals_cover_on_a_bounded_problem(scheme: Scheme) -> None:
    """The estimates are those of the training functions for every possible episode;
    only which ones come is simulated.
    """
    _, _, chance = all_episodes()
    assert 0.93 < coverage(gradients(scheme), chance, 400) < 0.97


def test_intervals_cover_where_estimates_compare_episodes() -> None:
    """leave_one_out over pairs: every ordered pair of episodes once."""
    _, _, chance = all_episodes()
    pairs = np.array(list(product(range(2**T), repeat=2)))
    table = gradients(LeaveOneOut(), pairs.flatten(), 2)
    both = (chance[pairs[:, 0]] * chance[pairs[:, 1]]).contiguous()
    assert 0.93 < coverage(table, both, 400) < 0.97


def test_heavy_tails_need_more_episodes() -> None:
    """OneState has no bounded returns: with few episodes the interval is too short,
    and covers far less than it says.
    """
    rollout, chance = support_one_state.episodes(0.5, 60)
    table = Seen(support_one_state.policy(0.5), rollout, NoCritic()).estimates(Estimator(None_(), 1.0), 1)
    few, many = (heavy(table, chance / chance.sum(), m) for m in (100, 20_000))
    assert few < 0.85
    assert few < many < 0.96


def heavy(table: Tensor, chance: Tensor, estimates: int) -> float:
    """``coverage`` by how often each row comes, for many estimates."""
    mean = chance @ table
    truth = float(chance @ (table - mean).square().sum(1))
    counts = np.random.default_rng(0).multinomial(estimates, chance.numpy(), size=REPEATS)
    hits = 0
    for count in torch.from_numpy(counts).double():
        terms = (table - count @ table / estimates).square().sum(1)
        average = float(count @ terms) / estimates
        deviation = math.sqrt(max(float(count @ (terms - average).square()) / (estimates - 1), 0.0))
        m = estimates / (estimates - 1)
        low, high = variance_interval(m * average, m * deviation / math.sqrt(estimates))
        hits += low <= truth <= high
    return hits / REPEATS


def test_heavy_counts_as_score_does() -> None:
    """The shortcut above against the function itself, once."""
    table = torch.randn(5, 2, dtype=torch.float64)
    drawn = table[torch.tensor([0, 0, 3, 1, 3])]
    terms = (drawn - drawn.mean(0)).square().sum(1)
    summary = summarise_estimates(drawn, Reference("exact", table[0]))
    assert (summary.variance, summary.variance_se) == variance_and_error(terms)
    assert summary.variance == pytest.approx(float(drawn.var(0).sum()))


def test_episodes_of_a_group_are_no_independent_ones() -> None:
    """2 000 groups of 16 that share half of their variance: σ²(1/2 + 1/32)/2000, not σ²/32 000."""
    draw = torch.Generator().manual_seed(1)
    shared, own = (torch.randn(2000, n, generator=draw) for n in (1, 16))
    returns = (shared + own).flatten()
    assert standard_error_of_mean(returns, 16) == pytest.approx(((1 + 1 / 16) / 2000) ** 0.5, rel=0.05)
    assert standard_error_of_mean(returns, 1) == pytest.approx((2 / 32_000) ** 0.5, rel=0.05)
