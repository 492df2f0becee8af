"""Every episode of a small tabular problem, and every group of them, with their chances: expectations as
sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product
from math import factorial, prod
from typing import TYPE_CHECKING, Any

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
Outcome = tuple[float, int | None, float]  # chance, next state: None where nothing follows, reward
Step = tuple[int, int, int | None, float]  # state, action, next state, reward


@dataclass(frozen=True)
class EveryEpisode:
    """All episodes, one a column, under a policy: each step earns E[r|s, a], or what its outcome does."""

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


def list_outcomes(p: Problem, table: Any = None) -> list[list[list[Outcome]]]:
    """What can follow each state and action. Without the transition table P of the problem a step earns
    E[r|s, a], which is enough for means; variances need what each outcome earns.
    """
    states, actions = p.reward.shape
    if table is not None:
        return [[merge_outcomes(table[s][a]) for a in range(actions)] for s in range(states)]
    ends = 1 - p.transition.sum(-1)
    outcomes: list[list[list[Outcome]]] = []
    for s in range(states):
        outcomes.append([])
        for a in range(actions):
            reward = float(p.reward[s, a])
            over: list[Outcome] = [(float(ends[s, a]), None, reward)] if ends[s, a] > 1e-12 else []
            after = p.transition[s, a].nonzero()[:, 0].tolist()
            outcomes[-1].append(over + [(float(p.transition[s, a, n]), n, reward) for n in after])
    return outcomes


def merge_outcomes(outcomes: Any) -> list[Outcome]:
    """Those of P[s][a] that have a chance; ends with the same reward are one, wherever they lead."""
    chances: dict[tuple[int | None, float], float] = {}
    for chance, after, reward, over in outcomes:
        if chance > 0:
            key = (None if over else int(after), float(reward))
            chances[key] = chances.get(key, 0.0) + float(chance)
    return [(chance, *key) for key, chance in chances.items()]


def count_episode_rows(p: Problem, table: Any = None) -> float:
    """Rows of all episodes side by side, at most."""
    outcomes = list_outcomes(p, table)
    states, actions = p.reward.shape
    follows = torch.zeros(states, actions, states + 1, dtype=torch.float64)  # the last one: nothing
    for s, a in product(range(states), range(actions)):
        for _, after, _ in outcomes[s][a]:
            follows[s, a, states if after is None else after] += 1
    count = torch.ones_like(p.start)
    for _ in range(p.horizon):
        count = (follows @ torch.cat([count, count.new_ones(1)])).sum(1)
    return float(count[p.start > 0].sum()) * p.horizon


def list_episodes(p: Problem, policy: Policy, table: Any = None) -> EveryEpisode:
    """Every episode; ``table``: P of the problem, with the reward of each outcome.

    Raises ``LookupError`` where there are too many.
    """
    if (rows := count_episode_rows(p, table)) > MOST:
        raise LookupError(f"its episodes, all of them, would have {rows:.2g} steps, and {MOST:,} is the most")
    pi, outcomes = policy_table(policy, p), list_outcomes(p, table)
    starts = p.start.nonzero()[:, 0].tolist()
    episodes = [path for s in starts for path in iterate_paths(outcomes, pi, p.horizon, s)]
    chances, steps = zip(*episodes, strict=True)
    shown = network_inputs(policy, p)
    state = np.zeros((p.horizon + 1, len(steps)), np.int64)
    action, time = np.zeros((2, p.horizon, len(steps)), np.int64)
    reward = np.zeros((p.horizon, len(steps)))
    mask, terminated, ended = np.zeros((3, p.horizon, len(steps)), bool)
    for n, path in enumerate(steps):
        for t, (s, a, after, earned) in enumerate(path):
            state[t : t + 2, n] = s, s if after is None else after
            action[t, n], time[t, n], reward[t, n], mask[t, n] = a, t, earned, True
        terminated[len(path) - 1, n], ended[len(path) - 1, n] = path[-1][2] is None, True
    arrays = Arrays(shown.numpy()[state], action, reward, terminated, ended, mask, time, state)
    rollout = arrays.to_rollout(policy, NoRewardScale(), len(steps), whole=True)
    return EveryEpisode(
        rollout, torch.tensor(chances, dtype=torch.float64), torch.from_numpy(state[0].copy()), p.start
    )


def iterate_paths(
    outcomes: list[list[list[Outcome]]], pi: Tensor, horizon: int, start: int
) -> Iterator[tuple[float, list[Step]]]:
    """(chance, steps) of every episode from ``start``."""
    under_way: list[tuple[float, int, list[Step]]] = [(1.0, start, [])]
    while under_way:
        chance, s, steps = under_way.pop()
        for a in range(pi.shape[1]):
            for here, after, reward in outcomes[s][a]:
                longer: list[Step] = [*steps, (s, a, after, reward)]
                rest = chance * float(pi[s, a]) * here
                if after is None or len(longer) == horizon:
                    yield rest, longer
                else:
                    under_way.append((rest, after, longer))


def mean_and_variance(chance: Tensor, estimates: Tensor) -> tuple[Tensor, float]:
    """(E x [P], E‖x − E x‖²) of estimates [G, P] with their chances [G]."""
    mean = chance @ estimates.double()
    return mean, float(chance @ (estimates.double() - mean).square().sum(1))
