"""Sums over all actions: unbiased by the sum over all episodes, and biased without their correction."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.algorithms.estimator import Estimator
from pgrun.critics.exact import ExactCritic
from pgrun.diagnostics.gradient_variance import measure_gradient_variance
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import EveryEpisode, list_episodes
from pgrun.training.loop import collect_rollout, make_batch
from pgrun.variance.action_baseline import ActionBaseline
from pgrun.variance.all_actions import AllActions
from pgrun.variance.base import Scheme
from tests.helpers.support_exact import EXACT, FAR, error
from tests.helpers.support_pipeline import built

GAMMA = 0.9
START = "from_start"
CASES = pytest.mark.parametrize(
    ("env", "horizon"), [("pgrun/TokenTree-v0", None), ("pgrun/SmallMDP-v0", 3), ("pgrun/OneState-v0", 6)]
)

pytestmark = pytest.mark.usefixtures("without_gradients")


def world(env: str, horizon: int | None) -> tuple[exact.Problem, Policy, EveryEpisode]:
    p = exact.read_problem(gym.make(env, **({"states": 3} if "MDP" in env else {})), horizon)
    actions = p.reward.shape[1]
    theta = torch.linspace(-1, 1, actions * p.observations, dtype=torch.float64)
    net = Mlp([p.observations, actions], bias=False)
    policy = Policy(net, Categorical(actions), theta, NoStateNorm())
    return p, policy, list_episodes(p, policy)


def mean(env: str, horizon: int | None, scheme: Scheme, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """(E ĝ, ∇J_γ), with Q times a factor."""
    p, policy, every = world(env, horizon)
    seen = Seen(policy, every.rollout, ExactCritic(p, policy, GAMMA, factor))
    actual = every.probability @ seen.estimates(Estimator(scheme, GAMMA), 1)
    return actual, exact.gradient(policy, p, GAMMA)


@CASES
def test_the_sum_over_all_actions_has_the_gradient_as_its_mean(env: str, horizon: int | None) -> None:
    actual, truth = mean(env, horizon, AllActions(START))
    assert error(actual, truth) < EXACT
    scaled, _ = mean(env, horizon, AllActions(START), 1.5)
    assert error(scaled, 1.5 * truth) < EXACT, "and what is wrong with Q is wrong with it"


@CASES
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_baseline_of_the_action_is_unbiased_once_it_is_given_back(
    env: str, horizon: int | None, factor: float
) -> None:
    """However wrong. Without: (1 − factor)∇J is left, by exactly the missing sum."""
    actual, truth = mean(env, horizon, ActionBaseline(START), factor)
    assert error(actual, truth) < EXACT
    without, _ = mean(env, horizon, ActionBaseline(START, corrected=False), factor)
    assert error(without, (1 - factor) * truth) < EXACT
    assert error(without, truth) > FAR


def test_without_the_discount_from_the_start_it_is_biased_as_ever() -> None:
    actual, truth = mean("pgrun/SmallMDP-v0", 3, AllActions("reward_to_go"))
    assert error(actual, truth) > 1e-3


@pytest.mark.parametrize("scheme", [AllActions(START), ActionBaseline(START)])
def test_units_of_the_variance_are_whole_estimates(scheme: Scheme) -> None:
    """A group's estimate is its columns' mean, and the meter is that of independent units."""
    p, policy, every = world("pgrun/SmallMDP-v0", 2)
    rollout = every.rollout.columns(torch.arange(6))
    seen = Seen(policy, rollout, ExactCritic(p, policy, GAMMA))
    estimator = Estimator(scheme, GAMMA)
    alone = seen.estimates(estimator, 1)
    assert error(seen.estimates(estimator, 3), alone.view(2, 3, -1).mean(1)) < EXACT
    reading = measure_gradient_variance(policy, replace(seen.with_every_q, count=6.0), seen.value, estimator)
    assert reading is not None
    assert error(reading.gradient, alone.mean(0)) < EXACT
    assert float(reading.variance) == pytest.approx(float(alone.var(0).sum()) / 6, rel=1e-9)


@pytest.mark.parametrize("scheme", ["all_actions", "action_baseline"])
def test_an_update_takes_the_step_of_the_estimate(scheme: str) -> None:
    """Of the objects that training builds: the very sum."""
    line = f"algo=reinforce variance={scheme} env=pgrun/SmallMDP-v0 critic=exact advantage_norm=none"
    run = built(*line.split(), "sampler.episodes=4", "optimizer=sgd", "optimizer.lr=1", "backend=torch")
    rollout, _, batch = make_batch(run, collect_rollout(run)[0])
    wanted = Seen(run.policy, rollout, run.learner.critic).estimates(run.estimator, 4)[0]
    before = run.policy.theta.clone()
    run.learner.take_update(run.algorithm, batch)
    assert torch.allclose(run.policy.theta - before, wanted, atol=1e-5)
    assert float(wanted.norm()) > 1e-2
    for envs in (run.envs, run.eval_envs):
        envs.close()
