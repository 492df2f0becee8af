"""Importance weights by enumeration: data from π_old, the gradient of another π_θ.

Unbiased, or biased as documented.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.base import Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_pg import OffPolicyPg
from pgrun.critics.base import NoCritic
from pgrun.variance.base import Scheme
from pgrun.variance.none import None_
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers.support_enumerate import batch_of, tabular_policy, world
from tests.helpers.support_exact import (
    EXACT,
    FAR,
    GAMMA,
    MDPS,
    Mdp,
    error,
    probabilities,
    time_limited,
    true_gradient,
    visits,
)

all_mdps = pytest.mark.parametrize("name", MDPS)
TO_GO = RewardToGo(discounting="from_start")


def moved(theta: Tensor) -> Tensor:
    """Another policy, not near."""
    return theta + 1.5 * torch.randn(
        len(theta), generator=torch.Generator().manual_seed(9), dtype=torch.float64
    )


def mean(name: str, weights: str, scheme: Scheme, **settings) -> Tensor:
    """E over π_old of the ascent direction at π_θ = ``moved``, through the algorithm's own update."""
    _, theta, every_episode = world(name)
    total = torch.zeros_like(theta)
    for column, p in enumerate(every_episode.probability):
        rollout = every_episode.rollout.columns(torch.tensor([column]))
        value = torch.zeros_like(rollout.obs[..., 0])
        batch = batch_of(every_episode.policy, rollout, value, Estimator(scheme, GAMMA))
        steps: list[Tensor] = []
        learner = Learner(
            tabular_policy(moved(theta)), NoCritic(), SimpleNamespace(step=steps.append), torch.Generator()
        )
        OffPolicyPg(weights=weights, reuses=1, **settings).improve(batch, learner)
        total -= p * steps[0]
    return total


@all_mdps
@pytest.mark.parametrize(
    ("weights", "scheme"), [("trajectory", None_()), ("trajectory", TO_GO), ("per_decision", TO_GO)]
)
def test_whole_products_are_unbiased_under_another_behaviour(name: str, weights: str, scheme: Scheme) -> None:
    mdp, theta, _ = world(name)
    assert error(mean(name, weights, scheme), true_gradient(mdp, moved(theta))) < EXACT


@all_mdps
def test_without_weights_it_is_another_gradient(name: str) -> None:
    """Negative control: weights capped near 0 are nearly none."""
    mdp, theta, _ = world(name)
    assert error(mean(name, "trajectory", None_(), truncate=1.0), true_gradient(mdp, moved(theta))) > FAR


def with_q_of_the_behaviour(mdp: Mdp, theta: Tensor, new: Tensor, state_of: Tensor) -> Tensor:
    """Σₜ γᵗ Σ_s P_{state_of}(sₜ = s) Σ_a π_new(a|s) Qₜ^{π_old}(s, a) ∇log π_new(a|s) [P]"""
    q, pi = time_limited(mdp, theta)[0], probabilities(mdp, new)
    discount = GAMMA ** torch.arange(mdp.horizon, dtype=torch.float64)
    weight = torch.einsum("t,ts,tsa->sa", discount, visits(mdp, state_of), q) * pi
    return (weight - pi * weight.sum(1, keepdim=True)).T.flatten()


@all_mdps
def test_past_only_has_the_mean_with_q_of_the_behaviour(name: str) -> None:
    mdp, theta, _ = world(name)
    new = moved(theta)
    actual = mean(name, "past_only", TO_GO)
    assert error(actual, with_q_of_the_behaviour(mdp, theta, new, state_of=new)) < EXACT
    assert error(actual, true_gradient(mdp, new)) > FAR


@all_mdps
def test_per_step_also_visits_the_states_of_the_behaviour(name: str) -> None:
    mdp, theta, _ = world(name)
    new = moved(theta)
    actual = mean(name, "per_step", TO_GO)
    assert error(actual, with_q_of_the_behaviour(mdp, theta, new, state_of=theta)) < EXACT
    assert error(actual, true_gradient(mdp, new)) > FAR


@all_mdps
def test_dynamics_cancel_in_the_ratio(name: str) -> None:
    """∏ρ of the policies is the ratio of the trajectories' whole probabilities, dynamics and all."""
    mdp, theta, every_episode = world(name)
    new, rollout = moved(theta), every_episode.rollout
    log_new = tabular_policy(new).dist.log_prob(tabular_policy(new).params(rollout.obs[:-1]), rollout.action)
    products = (rollout.mask * (log_new - rollout.log_prob)).sum(0).exp()
    pi_old, pi_new = probabilities(mdp, theta), probabilities(mdp, new)
    for column in range(len(every_episode.probability)):
        alive = rollout.mask[:, column] > 0
        s, a = every_episode.state[:-1, column][alive], rollout.action[alive, column]
        chance = every_episode.probability[column] / pi_old[s, a].prod()  # of start and transitions alone
        full = chance * pi_new[s, a].prod() / every_episode.probability[column]
        assert abs(float(products[column] - full)) < 1e-12 * float(full) + 1e-12
