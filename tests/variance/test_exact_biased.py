"""Estimators that are biased by a known amount: their expectation by enumeration is
the documented one, and not ∇J.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.estimator import Estimator
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.leave_one_out import LeaveOneOut
from pgrun.variance.mean_baseline import MeanBaseline
from pgrun.variance.reward_to_go import RewardToGo
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_enumerate import mean, used_gradient, world
from tests.helpers.support_exact import (
    EXACT,
    FAR,
    GAMMA,
    MDPS,
    Mdp,
    action_values,
    discounts,
    error,
    gradient_by_step,
    probabilities,
    time_limited,
    true_gradient,
    visits,
    wrong_critic,
)

FROM_START = "from_start"
all_mdps = pytest.mark.parametrize("name", MDPS)


@pytest.mark.parametrize("name", ["time_limit", "both"])
def test_value_baseline_with_a_wrong_critic_bootstraps_at_the_limit(name: str) -> None:
    """Its mean is the gradient with V(s_H) as the reward of being cut off: not ∇J."""
    mdp, theta, _ = world(name)
    table = wrong_critic(mdp)
    q, _ = action_values(mdp, theta, GAMMA, table[-1])
    actual = mean(name, ValueBaseline(FROM_START), table)
    assert error(actual, (discounts(mdp) * gradient_by_step(mdp, theta, q)).sum(0)) < EXACT
    assert error(actual, true_gradient(mdp, theta)) > FAR


def gae_by_induction(mdp: Mdp, theta: Tensor, table: Tensor, lam: float) -> Tensor:
    """E[Σₖ (γλ)ᵏ δₜ₊ₖ | sₜ, aₜ] [H, S, A] from the model: expected δ plus γλ times
    the same one step later.
    """
    pi, later = probabilities(mdp, theta), torch.zeros(mdp.states, dtype=torch.float64)
    collected = []
    for t in reversed(range(mdp.horizon)):
        follows = torch.cat(
            [table[t + 1], torch.zeros(1, dtype=torch.float64)]
        )  # nothing after a termination
        delta = mdp.reward + GAMMA * follows - table[t][:, None, None]
        collected.append((mdp.chance * delta).sum(-1) + GAMMA * lam * mdp.chance[..., :-1] @ later)
        later = (pi * collected[-1]).sum(-1)
    return torch.stack(collected[::-1])


@all_mdps
@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("discounting", ["reward_to_go", FROM_START])
def test_gae_with_a_wrong_critic(name: str, lam: float, discounting: str) -> None:
    mdp, theta, _ = world(name)
    table = wrong_critic(mdp)
    by_step = gradient_by_step(mdp, theta, gae_by_induction(mdp, theta, table, lam))
    factor = discounts(mdp) if discounting == FROM_START else 1.0
    actual = mean(name, Gae(discounting, lam), table)
    assert error(actual, (factor * by_step).sum(0)) < EXACT
    if lam < 1 or name != "terminates":
        assert error(actual, true_gradient(mdp, theta)) > FAR


@all_mdps
def test_without_from_start_exactly_the_power_of_gamma_is_missing(name: str) -> None:
    mdp, theta, _ = world(name)
    by_step = gradient_by_step(mdp, theta, time_limited(mdp, theta)[0])
    actual = mean(name, RewardToGo())
    assert error(actual, by_step.sum(0)) < EXACT
    assert error(actual, true_gradient(mdp, theta)) > FAR


@all_mdps
def test_whole_mean_baseline_is_leave_one_out_scaled(name: str) -> None:
    """(N−1)/N ∇J in the mean, and (N−1)/N times leave_one_out for every batch."""
    mdp, theta, every_episode = world(name)
    assert error(mean(name, MeanBaseline(), episodes=2), true_gradient(mdp, theta) / 2) < EXACT
    rng = torch.Generator().manual_seed(0)
    for n in (2, 3, 7):
        rollout = every_episode.rollout.columns(
            torch.randint(len(every_episode.probability), (n,), generator=rng)
        )
        value = torch.zeros_like(rollout.obs[..., 0])
        ours, other = (
            used_gradient(every_episode.policy, rollout, value, Estimator(scheme, GAMMA))
            for scheme in (MeanBaseline(), LeaveOneOut())
        )
        assert error(ours, (n - 1) / n * other) < 1e-13  # rounding of a handful of terms


@pytest.mark.parametrize(
    ("name", "episodes"), [("terminates", 2), ("terminates", 3), ("time_limit", 2), ("both", 2)]
)
def test_mean_baseline_by_time_step(name: str, episodes: int) -> None:
    """The factor 1 − (1 − (1−pₜ)^N)/(N pₜ) on each time step's share, pₜ the chance to be alive."""
    mdp, theta, _ = world(name)
    alive = visits(mdp, theta).sum(-1, keepdim=True)
    factor = 1 - (1 - (1 - alive) ** episodes) / (episodes * alive)
    share = discounts(mdp) * gradient_by_step(mdp, theta, time_limited(mdp, theta)[0])
    actual = mean(name, MeanBaseline(FROM_START, "reward_to_go"), episodes=episodes)
    assert error(actual, (factor * share).sum(0)) < EXACT
    if name != "time_limit":  # where everyone is alive to the end, the factor is (N−1)/N
        assert error(actual, (episodes - 1) / episodes * share.sum(0)) > FAR


@pytest.mark.parametrize("scheme", [MeanBaseline(FROM_START, "reward_to_go"), LeaveOneOut()], ids=str)
def test_the_order_of_episodes_does_not_matter(scheme: Scheme) -> None:
    """The enumeration of batches rests on it."""
    _, _, episodes = world("both")
    keep = torch.tensor([0, 5, 5, 20, 31])
    value = torch.zeros(episodes.rollout.obs.shape[0], len(keep), dtype=torch.float64)
    one, other = (
        used_gradient(episodes.policy, episodes.rollout.columns(order), value, Estimator(scheme, GAMMA))
        for order in (keep, keep.flip(0))
    )
    assert error(one, other) < 1e-13
