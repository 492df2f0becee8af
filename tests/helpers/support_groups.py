"""Groups of episodes from one start, enumerated from a transition table: every noise, every tuple.

The noise is a uniform number a step, by which the outcome is chosen; ``shares`` says whether the episodes
of a group have the same ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

import pgrun.envs.problems.registration  # noqa: F401
from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import NoCritic
from pgrun.exact import Problem, read_problem
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays
from pgrun.tools.study.collect import Seen
from pgrun.types import Rollout
from pgrun.variance.base import Scheme

Shares = Literal["nothing", "start", "seed"]
Path = tuple[tuple[int, int, float, int, bool], ...]  # (s, a, r, s', over) of each step


@dataclass(frozen=True)
class Tree:
    """A tabular problem whose outcomes are equally likely, and a random policy on it."""

    table: Any
    start: np.ndarray
    p: Problem
    policy: Policy

    def paths(self, start: int, noise: tuple[int, ...]) -> Iterator[tuple[float, Path]]:
        """(chance of its actions, the path) of every episode from ``start``, step t with outcome noise[t]."""
        pi = self.policy.params(self.p.encoded()).softmax(-1)
        under_way: list[tuple[float, int, Path]] = [(1.0, start, ())]
        while under_way:
            chance, s, path = under_way.pop()
            for a in range(pi.shape[1]):
                _, after, reward, over = self.table[s][a][noise[len(path)] % len(self.table[s][a])]
                longer = (*path, (s, a, reward, after, over))
                if over:
                    yield chance * float(pi[s, a]), longer
                else:
                    under_way.append((chance * float(pi[s, a]), after, longer))

    def starts(self) -> Iterator[tuple[float, int]]:
        return ((float(x), s) for s, x in enumerate(self.start) if x > 0)

    def noises(self) -> list[tuple[int, ...]]:
        most = max(len(outcomes) for by_action in self.table.values() for outcomes in by_action.values())
        return list(itertools.product(range(most), repeat=self.p.horizon))

    def groups(self, size: int, shares: Shares) -> Iterator[tuple[float, tuple[Path, ...]]]:
        """(chance, its episodes) of every group."""
        noises, starts = self.noises(), list(self.starts())
        each = [(p / len(noises), s, u) for p, s in starts for u in noises]
        if shares == "seed":
            for p, s, u in each:
                yield from self.tuples(p, [list(self.paths(s, u))] * size)
            return
        if shares == "start":
            for p, s in starts:
                yield from self.tuples(
                    p, [[(q / len(noises), x) for u in noises for q, x in self.paths(s, u)]] * size
                )
            return
        yield from self.tuples(1.0, [[(p * q, x) for p, s, u in each for q, x in self.paths(s, u)]] * size)

    @staticmethod
    def tuples(
        chance: float, episodes: list[list[tuple[float, Path]]]
    ) -> Iterator[tuple[float, tuple[Path, ...]]]:
        for chosen in itertools.product(*episodes):
            yield chance * prod(q for q, _ in chosen), tuple(x for _, x in chosen)

    def rollout(self, paths: list[Path], group: int) -> Rollout:
        """Episodes as a rollout, one a column."""
        steps, width = self.p.horizon, len(paths)
        state = np.zeros((steps + 1, width), int)
        action, time = np.zeros((steps, width), np.int64), np.zeros((steps, width), np.int64)
        reward, (over, mask) = np.zeros((steps, width)), np.zeros((2, steps, width), bool)
        for n, path in enumerate(paths):
            for t, (s, a, r, after, last) in enumerate(path):
                state[t : t + 2, n], action[t, n], reward[t, n] = (s, after), a, r
                over[t, n], mask[t, n], time[t, n] = last, True, t
        obs = np.eye(len(self.start))[state]
        arrays = Arrays(obs, action, reward, over, over, mask, time)
        return replace(arrays.to_rollout(self.policy, NoRewardScale(), width, whole=True), group=group)


def tree(seed: int = 0, **kwargs: Any) -> Tree:
    """A TokenTree and a policy with random logits."""
    env = gym.make("pgrun/TokenTree-v0", **kwargs)
    p, actions = read_problem(env), int(env.action_space.n)  # type: ignore[attr-defined]
    rng = torch.Generator().manual_seed(seed)
    theta = 0.7 * torch.randn(len(p.start) * actions, generator=rng, dtype=torch.float64)
    policy = Policy(Mlp([len(p.start), actions], bias=False), Categorical(actions), theta, NoStateNorm())
    return Tree(env.unwrapped.P, env.unwrapped.start, p, policy)  # type: ignore[attr-defined]


def every_group(one: Tree, size: int, shares: Shares) -> tuple[Rollout, Tensor]:
    """(a rollout of every group side by side, their chances [G])"""
    chances, groups = zip(*one.groups(size, shares), strict=True)
    rollout = one.rollout([path for group in groups for path in group], size)
    return rollout, torch.tensor(chances, dtype=torch.float64)


def gradients(one: Tree, rollout: Rollout, scheme: Scheme, batch: int, gamma: float = 1.0) -> Tensor:
    """ĝ of each ``batch`` columns [G, P]."""
    return Seen(one.policy, rollout, NoCritic()).estimates(Estimator(scheme, gamma), batch)


def moments(one: Tree, scheme: Scheme, size: int, shares: Shares, gamma: float = 1.0) -> tuple[Tensor, float]:
    """(E ĝ [P], E‖ĝ − E ĝ‖²) of one group."""
    rollout, chance = every_group(one, size, shares)
    actual = gradients(one, rollout, scheme, size, gamma)
    mean = chance @ actual
    return mean, float(chance @ (actual - mean).square().sum(1))
