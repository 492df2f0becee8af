"""Small problems for proofs and for teaching, registered with gymnasium as ``pgrun/<Name>-v0``.

The tabular ones publish ``P`` as gymnasium's toy-text environments do, P[s][a] = [(probability, s', reward,
terminated), …], the distribution of the first state ``start`` [S], and what is seen in each state ``seen``
[S]: where states look alike, one parameter of the policy serves several of them. ``theta``, where one is
given, is the π(action 0) that a study takes.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Outcomes = list[tuple[float, int, float, bool]]
Table = dict[int, dict[int, Outcomes]]
MOST = 1000  # states or actions of a problem that is made up: a table of their square


class Tabular(gym.Env):
    """An environment from its table."""

    def __init__(
        self, table: Table, start: list[float], seen: list[int] | None = None, theta: float | None = None
    ):
        if theta is not None and not 0 < theta < 1:
            raise ValueError(f"theta={theta}: must be in (0, 1), the probability of action 0")
        self.P, self.start, self.theta = table, np.asarray(start, float), theta
        self.seen = np.arange(len(table)) if seen is None else np.asarray(seen)
        self.observation_space = spaces.Discrete(int(self.seen.max()) + 1)
        self.action_space = spaces.Discrete(len(table[0]))
        self.state = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.choice(len(self.start), p=self.start))
        return int(self.seen[self.state]), {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        outcomes = self.P[self.state][int(action)]
        drawn = self.np_random.choice(len(outcomes), p=[p for p, *_ in outcomes])
        _, self.state, reward, terminated = outcomes[drawn]
        return int(self.seen[self.state]), reward, terminated, False, {}


def one_state(return_offset: float = 0.0, reward_offset: float = 0.0, theta: float | None = None) -> Tabular:
    """Action 0 earns 1 and stays, action 1 ends with 0.

    ``return_offset`` is added once, at the end; ``reward_offset`` to every reward of staying.
    """
    stay, end = (1.0, 0, 1.0 + reward_offset, False), (1.0, 0, return_offset, True)
    return Tabular({0: {0: [stay], 1: [end]}}, [1.0], theta=theta)


def conserved_return() -> Tabular:
    """r₁ = ±1 by the first action, r₂ = −r₁ whatever comes: the return is always 0."""
    first = {a: [(1.0, 1 + a, 1.0 - 2 * a, False)] for a in (0, 1)}
    return Tabular(
        {
            0: first,
            1: same_for_both_actions((1.0, 1, -1.0, True)),
            2: same_for_both_actions((1.0, 2, 1.0, True)),
        },
        [1.0, 0, 0],
    )


def action_mismatch() -> Tabular:
    """Two steps that look alike; reward 1 if the second action differs from the first."""
    first = {a: [(1.0, 1 + a, 0.0, False)] for a in (0, 1)}
    second = {s: {a: [(1.0, s, float(a != s - 1), True)] for a in (0, 1)} for s in (1, 2)}
    return Tabular({0: first, **second}, [1.0, 0, 0], seen=[0, 0, 0])


def fixed_horizon(T: int = 10) -> Tabular:
    """T steps that look alike, two actions; action 1 earns 1."""
    require_counts(T=T)
    table = {t: {a: [(1.0, min(t + 1, T - 1), float(a), t == T - 1)] for a in (0, 1)} for t in range(T)}
    return Tabular(table, [1.0] + [0.0] * (T - 1), seen=[0] * T)


def random_walk(states: int = 5) -> Tabular:
    """Left or right from the middle of a row of states; past the right end earns 1
    (Sutton & Barto 2018, example 6.2).
    """
    require_counts(states=states)
    table: Table = {}
    for s in range(states):
        left = (1.0, max(s - 1, 0), 0.0, s == 0)
        right = (1.0, min(s + 1, states - 1), float(s == states - 1), s == states - 1)
        table[s] = {0: [left], 1: [right]}
    return Tabular(table, [float(s == states // 2) for s in range(states)])


def a_split() -> Tabular:
    """A goes to B or C at even odds, B ends with 1, C with 0 (Sutton & Barto 2018, example 11.2); actions
    change nothing.
    """
    split = [(0.5, 1, 0.0, False), (0.5, 2, 0.0, False)]
    table = {
        0: {0: split, 1: split},
        1: same_for_both_actions((1.0, 1, 1.0, True)),
        2: same_for_both_actions((1.0, 2, 0.0, True)),
    }
    return Tabular(table, [1.0, 0, 0])


def small_mdp(seed: int = 0, states: int = 4, actions: int = 2, ends: float = 0.2) -> Tabular:
    """A random MDP: transitions from a Dirichlet, rewards standard normal, every step
    ends with probability ``ends``.
    """
    require_counts(states=states, actions=actions)
    draw = np.random.default_rng(seed)
    table: Table = {}
    for s in range(states):
        table[s] = {}
        for a in range(actions):
            chances, rewards = draw.dirichlet(np.ones(states)), draw.normal(size=states)
            pairs = list(zip(chances.tolist(), range(states), rewards.tolist(), strict=True))
            goes_on = [((1 - ends) * p, n, r, False) for p, n, r in pairs]
            table[s][a] = goes_on + [(ends * p, n, r, True) for p, n, r in pairs]
    return Tabular(table, [1 / states] * states)


def require_counts(**counts: Any) -> None:
    """Raises ``ValueError`` with the name of what is no number of things."""
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
            raise ValueError(f"{name}={count}: must be an integer in [1, {MOST}]")


def same_for_both_actions(outcome: tuple[float, int, float, bool]) -> dict[int, Outcomes]:
    """Outcomes of two actions that lead to the same, for certain."""
    return {0: [outcome], 1: [outcome]}
