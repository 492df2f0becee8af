"""optimal_baseline by enumeration: unbiased for every pair of episodes, and its b*
the constant of least variance.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.estimator import Estimator
from pgrun.types import Rollout
from pgrun.variance.leave_out import rows_by_unit
from pgrun.variance.optimal_baseline import OptimalBaseline
from tests.helpers.support_enumerate import World, mean, world
from tests.helpers.support_exact import EXACT, FAR, GAMMA, error, true_gradient
from tests.helpers.support_slow import slow_but

KINDS = ("scalar", "per_parameter", "per_step")
MDP = "both"  # 34 trajectories, of which some end before the limit of 3 steps, 4 parameters: 595 pairs


@pytest.mark.parametrize("returns", slow_but(["reward_to_go"], ["whole", "reward_to_go"]))
@pytest.mark.parametrize("kind", KINDS)
def test_cross_fitted_it_is_unbiased(kind: str, returns: str) -> None:
    mdp, theta, _ = world(MDP)
    scheme = OptimalBaseline(discounting="from_start", kind=kind, returns=returns)
    assert error(mean(MDP, scheme, episodes=2), true_gradient(mdp, theta)) < EXACT


def test_fitted_on_the_same_episodes_it_would_be_biased(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: b* of all episodes, the episode's own among them."""
    import pgrun.variance.optimal_baseline as module

    monkeypatch.setattr(module, "sum_of_others", lambda x: x.sum(0).expand_as(x))
    mdp, theta, _ = world(MDP)
    scheme = OptimalBaseline(discounting="from_start", kind="scalar")
    assert error(mean(MDP, scheme, episodes=2), true_gradient(mdp, theta)) > FAR


def scores(given: World) -> Tensor:
    """∇log π of every row [T, n, P]"""
    rollout, n = given.rollout, given.rollout.mask.shape[1]
    rows = rows_by_unit(rollout.mask, n)
    factors = given.policy.scores(rows_by_unit(rollout.obs[:-1], n), rows_by_unit(rollout.action, n))
    return factors.sums(rows, len(rows)).view(n, -1, given.policy.net.size).transpose(0, 1)


def weights(given: World, returns: str) -> Tensor:
    """w [T, n]: the return, or the return to go with its γᵗ."""
    rollout: Rollout = given.rollout
    discounted = rollout.mask * GAMMA**rollout.time * rollout.reward
    to_go = discounted.flip(0).cumsum(0).flip(0)
    return to_go if returns == "reward_to_go" else discounted.sum(0).expand_as(to_go)


def variance(given: World, per_episode: Tensor) -> Tensor:
    """E‖g − Eg‖² over trajectories, from g [n, P]."""
    p = given.probability[:, None]
    return (p * (per_episode - (p * per_episode).sum(0)).square()).sum()


@pytest.mark.parametrize("returns", ["whole", "reward_to_go"])
def test_the_formula_is_the_constant_of_least_variance(returns: str) -> None:
    """b* = E[X·B]/E‖B‖² beats its neighbours; E[‖B‖²w₀]/E‖B‖² does too for the whole
    return, not for the return to go.
    """
    every_episode = world(MDP)[2]
    g, w, p = scores(every_episode), weights(every_episode, returns), every_episode.probability
    x, b = (g * w[..., None]).sum(0), g.sum(0)
    best = float((p * (x * b).sum(1)).sum() / (p * b.square().sum(1)).sum())

    def at(constant: float) -> float:
        return float(variance(every_episode, x - constant * b))

    assert at(best) < min(at(best - 0.01), at(best + 0.01))
    each = (p[:, None] * x * b).sum(0) / (p[:, None] * b * b).sum(0)
    assert variance(every_episode, x - each * b) < at(best)  # one constant a parameter is better still
    obvious = float((p * b.square().sum(1) * w[0]).sum() / (p * b.square().sum(1)).sum())
    assert (abs(obvious - best) < EXACT) == (returns == "whole")


def test_each_episode_is_given_the_constant_of_the_others() -> None:
    """On a batch with the frequencies of the distribution: b* of the formula, without
    the episode's own share.
    """
    every_episode = world(MDP)[2]
    copies = (every_episode.probability * 4000).round().long().clamp(min=1)
    keep = torch.repeat_interleave(torch.arange(len(copies)), copies)
    rollout = every_episode.rollout.columns(keep)
    scheme = OptimalBaseline(discounting="from_start", kind="scalar", returns="reward_to_go")
    psi, _ = Estimator(scheme, GAMMA).psi(
        rollout, torch.zeros_like(rollout.obs[..., 0]), every_episode.policy
    )
    g, w = scores(every_episode), weights(every_episode, "reward_to_go")
    x, b = (g * w[..., None]).sum(0), g.sum(0)
    along, squares = (x * b).sum(1), b.square().sum(1)
    without = ((copies * along).sum() - along) / ((copies * squares).sum() - squares)
    alive = rollout.mask > 0
    assert ((w[:, keep] - psi) - without[keep])[alive].abs().max() < EXACT
    best = (every_episode.probability * along).sum() / (every_episode.probability * squares).sum()
    assert (without - best).abs().max() < 0.05 * best.abs()  # one of 4000 matters little
