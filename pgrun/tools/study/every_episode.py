"""Every episode of a small tabular problem, and every group of them, with their chances: expectations as
sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from math import factorial, prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from pgrun.exact import Problem, network_inputs, policy_table
from pgrun.policies.normalization import NoRewardScale
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor

MOST = 200_000  # rows of a rollout of all episodes
Step = tuple[int, int, int | None]  # state, action, next state: None where nothing follows


@dataclass(frozen=True)
class EveryEpisode:
    """All episodes, one a column, under a policy: each step earns E[r|s, a]."""

    rollout: Rollout
    chance: Tensor  # [N]  of each, given where it starts
    start: Tensor  # [N]  the state where it starts
    of_start: Tensor  # [S]

    @property
    def probability(self) -> Tensor:
        """[N]"""
        return self.of_start[self.start] * self.chance

    @property
    def lengths(self) -> Tensor:
        """[N]"""
        return self.rollout.mask.sum(0)

    def groups(self, size: int) -> tuple[Rollout, Tensor]:
        """(every set of ``size`` episodes from one start side by side, the chance of each [G]).

        An estimate does not depend on their order, so a set stands for all of its orders.
        """
        chosen: list[tuple[int, ...]] = []
        chances: list[float] = []
        for s in sorted(set(self.start.tolist())):
            columns = (self.start == s).nonzero()[:, 0].tolist()
            for some in combinations_with_replacement(columns, size):
                orders = factorial(size) / prod(factorial(n) for n in Counter(some).values())
                chosen.append(some)
                chances.append(orders * float(self.of_start[s]) * prod(float(self.chance[n]) for n in some))
        keep = torch.tensor(chosen).flatten()
        return replace(self.rollout.columns(keep), group=size), torch.tensor(chances, dtype=torch.float64)


def count_episode_rows(p: Problem) -> float:
    """Rows of all episodes side by side, at most."""
    follows, ends = p.transition > 0, 1 - p.transition.sum(-1) > 1e-12
    count = torch.ones_like(p.start)
    for _ in range(p.horizon):
        count = (ends + follows.double() @ count).sum(1)
    return float(count[p.start > 0].sum()) * p.horizon


def list_episodes(p: Problem, policy: Policy) -> EveryEpisode:
    """Every episode. Raises ``LookupError`` where there are too many."""
    if (rows := count_episode_rows(p)) > MOST:
        raise LookupError(f"its episodes, all of them, would have {rows:.2g} steps, and {MOST:,} is the most")
    pi, ends = policy_table(policy, p), 1 - p.transition.sum(-1)
    found = [path for s in p.start.nonzero()[:, 0].tolist() for path in iterate_paths(p, pi, ends, s)]
    chances, steps = zip(*found, strict=True)
    shown = network_inputs(policy, p)
    state = np.zeros((p.horizon + 1, len(steps)), np.int64)
    action, time = np.zeros((2, p.horizon, len(steps)), np.int64)
    mask, terminated, ended = np.zeros((3, p.horizon, len(steps)), bool)
    for n, path in enumerate(steps):
        for t, (s, a, after) in enumerate(path):
            state[t : t + 2, n] = s, s if after is None else after
            action[t, n], time[t, n], mask[t, n] = a, t, True
        terminated[len(path) - 1, n], ended[len(path) - 1, n] = path[-1][2] is None, True
    reward = np.where(mask, p.reward.numpy()[state[:-1], action], 0.0)
    arrays = Arrays(shown.numpy()[state], action, reward, terminated, ended, mask, time, state)
    rollout = arrays.to_rollout(policy, NoRewardScale(), len(steps), whole=True)
    return EveryEpisode(
        rollout, torch.tensor(chances, dtype=torch.float64), torch.from_numpy(state[0].copy()), p.start
    )


def iterate_paths(p: Problem, pi: Tensor, ends: Tensor, start: int) -> Iterator[tuple[float, list[Step]]]:
    """(chance, steps) of every episode from ``start``."""
    under_way: list[tuple[float, int, list[Step]]] = [(1.0, start, [])]
    while under_way:
        chance, s, steps = under_way.pop()
        for a in range(pi.shape[1]):
            here = chance * float(pi[s, a])
            if float(ends[s, a]) > 1e-12:
                yield here * float(ends[s, a]), [*steps, (s, a, None)]
            for after in p.transition[s, a].nonzero()[:, 0].tolist():
                longer, rest = [*steps, (s, a, after)], here * float(p.transition[s, a, after])
                if len(longer) == p.horizon:
                    yield rest, longer
                else:
                    under_way.append((rest, after, longer))


def mean_and_variance(chance: Tensor, estimates: Tensor) -> tuple[Tensor, float]:
    """(E x [P], E‖x − E x‖²) of estimates [G, P] with their chances [G]."""
    mean = chance @ estimates.double()
    return mean, float(chance @ (estimates.double() - mean).square().sum(1))
