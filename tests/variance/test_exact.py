"""Expectation of the gradient that an update uses, over every trajectory or batch of them: unbiased where
that is claimed.
"""

from __future__ import annotations

import pytest
import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.leave_one_out import LeaveOneOut
from pgrun.variance.none import None_
from pgrun.variance.reward_to_go import RewardToGo
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_enumerate import expectation, mean, world
from tests.helpers.support_exact import (
    EXACT,
    FAR,
    GAMMA,
    MDPS,
    discounts,
    error,
    time_limited,
    true_gradient,
    wrong_critic,
)

FROM_START = "from_start"
all_mdps = pytest.mark.parametrize("name", MDPS)


@all_mdps
def test_the_enumeration_is_whole(name: str) -> None:
    """Probabilities sum to 1; the mean return is backward induction's; a time limit
    is met, or not, as said.
    """
    mdp, theta, every_episode = world(name)
    rollout, p = every_episode.rollout, every_episode.probability
    assert abs(float(p.sum()) - 1) < EXACT
    returns = (rollout.mask * discounts(mdp) * rollout.reward).sum(0)
    assert abs(float((p * returns).sum() - time_limited(mdp, theta)[1][0, 0])) < EXACT
    truncated = p[(rollout.ended * (1 - rollout.terminated)).any(0)].sum()
    assert float(truncated) == pytest.approx(
        {"terminates": 0.0, "time_limit": 1.0}.get(name, float(truncated))
    )
    assert name != "both" or 0.1 < float(truncated) < 0.9


@all_mdps
def test_dynamic_programming_against_finite_differences(name: str) -> None:
    mdp, theta, _ = world(name)
    step = 1e-5  # central differences: truncation about step² = 1e-10, cancellation 1e-16/step = 1e-11
    slope = [
        (time_limited(mdp, theta + step * e)[1][0, 0] - time_limited(mdp, theta - step * e)[1][0, 0])
        / (2 * step)
        for e in torch.eye(len(theta), dtype=torch.float64)
    ]
    assert error(true_gradient(mdp, theta), torch.stack(slope)) < 1e-8
    assert true_gradient(mdp, theta).norm() > 0.1  # zero would be easy to equal


@all_mdps
@pytest.mark.parametrize(
    ("scheme", "episodes"),
    [
        (None_(), 1),
        (None_(), 2),
        (RewardToGo(FROM_START), 1),
        (LeaveOneOut(), 2),
        (LeaveOneOut(FROM_START, "reward_to_go"), 2),
    ],
    ids=str,
)
def test_unbiased_without_critic(name: str, scheme: Scheme, episodes: int) -> None:
    mdp, theta, _ = world(name)
    assert error(mean(name, scheme, episodes=episodes), true_gradient(mdp, theta)) < EXACT


@all_mdps
@pytest.mark.parametrize(
    "scheme", [ValueBaseline(FROM_START), Gae(FROM_START, 0.95), Gae(FROM_START, 0.0)], ids=str
)
def test_unbiased_with_the_exact_critic(name: str, scheme: Scheme) -> None:
    """V of the time-limited problem, which depends on the time that is left and is 0 at the limit."""
    mdp, theta, _ = world(name)
    exact = time_limited(mdp, theta)[1]
    assert error(mean(name, scheme, exact), true_gradient(mdp, theta)) < EXACT


def test_value_baseline_is_unbiased_with_any_critic_where_every_episode_terminates() -> None:
    mdp, theta, _ = world("terminates")
    table = wrong_critic(mdp, constant_in_time=False)
    assert error(mean("terminates", ValueBaseline(FROM_START), table), true_gradient(mdp, theta)) < EXACT


# What must fail: the enumeration sees a bias where there is one.


def test_negative_control_a_baseline_that_depends_on_the_action() -> None:
    """Gₜ − Q(sₜ, aₜ) has mean 0 for every action: the whole gradient is gone."""
    mdp, theta, every_episode = world("terminates")
    q = time_limited(mdp, theta)[0]
    padded = torch.nn.functional.pad(q, (0, 0, 0, 1))
    rows = torch.arange(mdp.horizon)[:, None].expand_as(every_episode.rollout.action)
    value = torch.cat(
        [
            padded[rows, every_episode.state[:-1], every_episode.rollout.action],
            torch.zeros(1, len(every_episode.probability)),
        ]
    )
    result = expectation(every_episode, Estimator(ValueBaseline(FROM_START), GAMMA), value)
    assert error(result, torch.zeros_like(result)) < EXACT
    assert true_gradient(mdp, theta).abs().max() > FAR


@all_mdps
def test_negative_control_a_wrong_power_of_gamma(name: str) -> None:
    """Discounting the weight once more, or the gradient of another γ."""
    mdp, theta, _ = world(name)
    unbiased = mean(name, RewardToGo(FROM_START))
    assert error(GAMMA * unbiased, true_gradient(mdp, theta)) > FAR
    assert error(unbiased, true_gradient(mdp, theta, gamma=1.0)) > FAR
