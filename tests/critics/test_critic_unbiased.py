"""With the exact critic every scheme is unbiased for the time-limited problem: by
enumeration, through both samplers.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import gymnasium
import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.critics.exact import ExactCritic
from pgrun.envs.vector import Loop
from pgrun.exact import Problem
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.samplers.steps import Steps
from pgrun.types import Rollout
from pgrun.variance.advantage import Advantage
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.n_step import NStep
from pgrun.variance.q import Q
from pgrun.variance.td0 import Td0
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_critic import each_gradient, moments
from tests.helpers.support_enumerate import world
from tests.helpers.support_exact import EXACT, FAR, GAMMA, MDPS, Mdp, error, true_gradient

FROM_START = "from_start"
SCHEMES = [Q, Advantage, Td0, lambda d: NStep(d, 2), lambda d: Gae(d, 0.7), ValueBaseline]
every_scheme = pytest.mark.parametrize(
    "scheme", SCHEMES, ids=["q", "advantage", "td0", "n_step", "gae", "mc"]
)
ENVS = {
    "states that look alike": ("pgrun/Mismatch-v0", None),
    "cut off after 3": ("pgrun/OneState-v0", 3),
    "never cut off here": ("pgrun/OneState-v0", None),
}


def as_problem(mdp: Mdp) -> Problem:
    reward, start = (mdp.chance * mdp.reward).sum(-1), torch.eye(mdp.states, dtype=torch.float64)[0]
    return Problem(mdp.chance[..., :-1], reward, start, torch.arange(mdp.states), mdp.states, mdp.horizon)


def mean_on(name: str, scheme: Scheme, factor: float = 1.0) -> Tensor:
    """Over every trajectory of a random problem, of which some terminate and some are cut off."""
    mdp, _, every_episode = world(name)
    critic = ExactCritic(as_problem(mdp), every_episode.policy, GAMMA, factor)
    rollout = Rollout(
        **{**vars(every_episode.rollout), "state": every_episode.state.clamp(max=mdp.states - 1)}
    )
    return moments(
        every_episode.probability, each_gradient(every_episode.policy, rollout, critic, scheme, GAMMA)
    )[0]


@pytest.mark.parametrize("name", MDPS)
@every_scheme
def test_unbiased_on_random_problems(name: str, scheme) -> None:
    mdp, theta, _ = world(name)
    assert error(mean_on(name, scheme(FROM_START)), true_gradient(mdp, theta)) < EXACT


@pytest.mark.parametrize("name", MDPS)
def test_negative_control_a_scaled_critic(name: str) -> None:
    mdp, theta, _ = world(name)
    assert error(mean_on(name, Td0(FROM_START), 1.2), true_gradient(mdp, theta)) > FAR
    assert error(mean_on(name, Q(FROM_START), 1.2), 1.2 * true_gradient(mdp, theta)) < EXACT


@cache
def policy() -> Policy:
    theta = torch.tensor([0.3, -0.4], dtype=torch.float64)
    return Policy(Mlp([1, 2], bias=False), Categorical(2), theta, NoStateNorm())


def played(name: str, sampler: Steps | Episodes, rows: int) -> tuple[Rollout, Tensor, Problem]:
    """What the sampler brings back for every sequence of actions, a column each, and their probabilities."""
    env, limit = ENVS[name]
    scripts = torch.tensor(list(product((0, 1), repeat=rows))).T
    envs = Loop(lambda: gymnasium.make(env, max_episode_steps=limit), scripts.shape[1])
    envs.reset(list(range(scripts.shape[1])))
    envs.follow_states()
    acting, pending = policy(), iter(scripts.numpy())
    acting.actor = lambda: lambda obs, noise: next(pending)
    rollout, _ = sampler.collect(acting, envs, torch.Generator(), NoRewardScale())
    chance = acting.theta.softmax(-1)[scripts].prod(0)
    return rollout, chance, exact.read_problem(envs.envs[0])


@every_scheme
def test_unbiased_through_whole_episodes(scheme) -> None:
    rollout, chance, p = played("states that look alike", Episodes(4), 2)
    critic = ExactCritic(p, policy(), GAMMA)
    actual = moments(chance, each_gradient(policy(), rollout, critic, scheme(FROM_START), GAMMA))[0]
    assert error(actual, exact.gradient(policy(), p, GAMMA)) < EXACT


def by_rows(p: Problem, rows: int) -> Tensor:
    """(1/T) Σ over the rows of a rollout of E[mask·Q∇log π] [P]: where each row stands, steps gone and state,
    or in a reset.
    """
    theta = policy().theta.clone().requires_grad_()
    with torch.enable_grad():
        pi = theta.softmax(-1)
        chances = pi.detach().expand(len(p.start), -1)
        _, q = exact.values(p, chances, GAMMA)
        follows = torch.einsum("sa,san->sn", chances, p.transition)
        going = torch.zeros(len(q), len(p.start), dtype=torch.float64)
        going[0] = p.start
        total, resetting = torch.zeros(()), 0.0
        for _ in range(rows):
            total = total + torch.einsum("ts,tsa,a->", going, q, pi)
            later = torch.zeros_like(going)
            later[1:] = (going @ follows)[:-1]
            later[0] = resetting * p.start
            resetting = float(going.sum() - (later[1:]).sum())
            going = later
        return torch.autograd.grad(total, theta)[0] / rows


@pytest.mark.parametrize("rows", [1, 4, 7])
@pytest.mark.parametrize("name", ENVS)
@every_scheme
def test_unbiased_through_steps(name: str, scheme, rows: int) -> None:
    """Across resets, truncations and the cut at the rollout's end, for which Q of the
    rows it has is the truth.
    """
    rollout, chance, p = played(name, Steps(rows), rows)
    critic = ExactCritic(p, policy(), GAMMA)
    actual = moments(chance, each_gradient(policy(), rollout, critic, scheme("reward_to_go"), GAMMA))[0]
    assert error(actual, by_rows(p, rows)) < EXACT
    assert actual.norm() > FAR


def test_negative_control_a_critic_that_forgets_the_time_limit() -> None:
    """V of the endless problem, bootstrapped from at truncations, is unbiased for another J."""
    rollout, chance, p = played("cut off after 3", Steps(7), 7)
    endless = ExactCritic(exact.read_problem(gymnasium.make("pgrun/OneState-v0")), policy(), GAMMA)
    actual = moments(chance, each_gradient(policy(), rollout, endless, Td0(), GAMMA))[0]
    assert error(actual, by_rows(p, 7)) > FAR
