"""Expectations of what training does with the problems of support_exact: every
trajectory, or every batch of them.

The gradient comes from the code that trains: rollout, scheme, estimator, algorithm.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, product
from math import factorial, prod
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.reinforce import Reinforce
from pgrun.critics.base import NoCritic
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays
from pgrun.types import Batch, Rollout
from pgrun.variance.base import Scheme
from tests.helpers.support_exact import GAMMA, MDPS, Mdp, probabilities, theta_for


@dataclass(frozen=True)
class World:
    """Every trajectory of a problem, one a column."""

    policy: Policy
    rollout: Rollout
    probability: Tensor  # [n]
    state: Tensor  # [T+1, n], S where there is none

    def look_up(self, table: Tensor, nowhere: float = 99.0) -> Tensor:
        """table [H+1, S] at each row's time and state; what is ``nowhere`` must enter nothing."""
        padded = torch.cat([table, torch.full_like(table[:, :1], nowhere)], 1)
        return padded.gather(1, self.state)


def tabular_policy(theta: Tensor) -> Policy:
    net = Mlp([len(theta) // 2, 2], bias=False)
    return Policy(net, Categorical(2), theta.clone(), NoStateNorm())


def trajectories(mdp: Mdp, pi: Tensor) -> list[tuple[float, list[tuple[int, int, int]]]]:
    """(probability, [(s, a, outcome), …]) of each."""
    under_way, complete = [(1.0, 0, [])], []
    while under_way:
        p, s, steps = under_way.pop()
        for a, outcome in product(range(2), range(mdp.states + 1)):
            q = p * float(pi[s, a] * mdp.chance[s, a, outcome])
            longer = [*steps, (s, a, outcome)]
            over = outcome == mdp.states or len(longer) == mdp.horizon
            if q > 0:
                (complete.append((q, longer)) if over else under_way.append((q, outcome, longer)))
    return complete


def enumerate_world(mdp: Mdp, theta: Tensor) -> World:
    episodes = trajectories(mdp, probabilities(mdp, theta))
    steps, width, end = mdp.horizon, len(episodes), mdp.states
    state = np.full((steps + 1, width), end)
    action, time = np.zeros((steps, width), np.int64), np.zeros((steps, width), np.int64)
    reward = np.zeros((steps, width))
    terminated, ended, mask = (np.zeros((steps, width), bool) for _ in range(3))
    for column, (_, path) in enumerate(episodes):
        for t, (s, a, outcome) in enumerate(path):
            state[t : t + 2, column] = s, outcome
            action[t, column], time[t, column], mask[t, column] = a, t, True
            reward[t, column] = mdp.reward[s, a, outcome]
        terminated[len(path) - 1, column] = path[-1][2] == end
        ended[len(path) - 1, column] = True
    obs = np.eye(end + 1)[state][..., :end]
    policy = tabular_policy(theta)
    arrays = Arrays(obs, action, reward, terminated, ended, mask, time)
    rollout = arrays.to_rollout(policy, NoRewardScale(), width, whole=True)
    probability = torch.tensor([p for p, _ in episodes], dtype=torch.float64)
    return World(policy, rollout, probability, torch.from_numpy(state))


def batch_of(policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator) -> Batch:
    """What an update learns from."""
    return estimator.batch(rollout, value, NoCritic(), policy)


def used_gradient(
    policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator, algorithm: Algorithm | None = None
) -> Tensor:
    """The ascent direction that an update hands to its optimizer [P]."""
    steps: list[Tensor] = []
    learner = Learner(policy, NoCritic(), SimpleNamespace(step=steps.append), torch.Generator())
    (algorithm or Reinforce()).update(batch_of(policy, rollout, value, estimator), learner)
    return -steps[0]


def expectation(world: World, estimator: Estimator, value: Tensor | None = None, episodes: int = 1) -> Tensor:
    """E ĝ over every batch of so many trajectories [P]; their order does not matter, so each set is weighed
    by its orders.
    """
    value = torch.zeros_like(world.rollout.obs[..., 0]) if value is None else value
    total = torch.zeros_like(world.policy.theta)
    for chosen in combinations_with_replacement(range(len(world.probability)), episodes):
        keep = torch.tensor(chosen)
        gradient = used_gradient(world.policy, world.rollout.columns(keep), value[:, keep], estimator)
        orders = factorial(episodes) / prod(factorial(n) for n in Counter(chosen).values())
        total += orders * world.probability[keep].prod() * gradient
    return total


@cache
def world(name: str) -> tuple[Mdp, Tensor, World]:
    mdp = MDPS[name]
    theta = theta_for(mdp)
    return mdp, theta, enumerate_world(mdp, theta)


def mean(name: str, scheme: Scheme, table: Tensor | None = None, episodes: int = 1) -> Tensor:
    """E ĝ on one of ``MDPS``, with the critic V [H+1, S] of ``table``."""
    actual = world(name)[2]
    value = None if table is None else actual.look_up(table)
    return expectation(actual, Estimator(scheme, GAMMA), value, episodes)
