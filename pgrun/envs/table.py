"""Environments that are their transition table, all columns in one array program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, TimeLimit

from pgrun.envs.problems.transitions import check_transitions
from pgrun.envs.vector import Envs, Step

KEPT = {  # modules whose classes play exactly what their P says; a class of the user's may do more
    "gymnasium.envs.toy_text.frozen_lake",
    "gymnasium.envs.toy_text.cliffwalking",
    "gymnasium.envs.toy_text.taxi",
    "pgrun.envs.problems.teaching",
}


def keeps_to_table(env: gym.Env) -> bool:
    """Whether ``env`` is nothing but its table, a first state and a time limit."""
    while isinstance(env, gym.Wrapper):
        if type(env) not in (TimeLimit, OrderEnforcing):
            return False
        env = env.env
    return has_table(env) and env.render_mode is None and not getattr(env, "fickle_passenger", False)


def has_table(env: gym.Env) -> bool:
    """Whether ``P`` is a transition table for certain; a class of the user's may mean
    something else by it.
    """
    return type(env.unwrapped).__module__ in KEPT and hasattr(env.unwrapped, "P")


def check_table(env: gym.Env) -> None:
    """Raises ``ValueError`` where its table is none, as FrozenLake's is with success_rate=7."""
    inner: Any = env.unwrapped
    start = getattr(inner, "start", getattr(inner, "initial_state_distrib", None))
    check_transitions(inner.P, start, getattr(inner, "seen", None))


def differs_from_twin(one: gym.Env, twin: gym.Env) -> bool:
    """Whether the tables of two environments of the same settings are others, as FrozenLake's of a random
    map are.
    """
    first, second = (tabulate_outcomes(x.unwrapped.P) for x in (one, twin))  # type: ignore[attr-defined]
    return any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


class TableEnvs(Envs):
    """s' and r drawn from P[s][a] by inversion: the law of the single environment,
    one random stream for all columns.

    FrozenLake's own step takes 20 µs, half of it to draw; this takes 1 to 2 µs a column.
    """

    def __init__(self, one: gym.Env, num_envs: int):
        super().__init__(num_envs, one.observation_space, one.action_space)
        self.one, self.envs, inner = one, [one], one.unwrapped
        self.limit = getattr(one.spec, "max_episode_steps", None) or np.inf
        self.cumulative, self.successor, self.gain, self.end = tabulate_outcomes(inner.P)  # type: ignore[attr-defined]
        start = getattr(inner, "start", getattr(inner, "initial_state_distrib", None))
        self.first = cumulate_chances(np.asarray(start, float))
        seen = getattr(inner, "seen", np.arange(len(self.successor)))
        self.shown = np.stack([self.encode(obs + one.observation_space.start) for obs in seen])  # type: ignore[attr-defined]
        self.generator = np.random.default_rng()
        self.draws: SharedDraws | None = None  # while columns of the same seed draw alike
        self.at = np.zeros(num_envs, np.int64)
        self.steps = np.zeros(num_envs, np.int64)

    def follow_states(self) -> None:
        self.state = self.at

    def stand_at(self, at: np.ndarray, steps: np.ndarray, generator: np.random.Generator) -> None:
        """Put every column at a row of the table, so many steps after its start; ``generator``: of what
        follows.
        """
        self.reset()
        self.generator = generator
        self._see(at.copy(), steps.copy())

    def _reset(self, seeds: Sequence[int] | None) -> None:
        if seeds is not None:
            self.generator = np.random.default_rng(list(seeds))
        self.draws = None
        self._see(self._begin(), np.zeros_like(self.steps))

    def reset_alike(self, seeds: Sequence[int], noise_too: bool) -> None:
        self.reset()
        shared = SharedDraws(seeds)
        self._see(draw_outcomes(self.first, shared.random()), np.zeros_like(self.steps))
        self.draws = shared if noise_too else None

    def _random(self) -> np.ndarray:
        """The next uniform number of each column [N], for a step."""
        return self.generator.random(self.num_envs) if self.draws is None else self.draws.random()

    def _begin(self) -> np.ndarray:
        return draw_outcomes(self.first, self.generator.random(self.num_envs))

    def _see(self, at: np.ndarray, steps: np.ndarray) -> None:
        self.at, self.steps = at, steps
        self.obs[:] = self.shown[at]
        if self.state is not None:
            self.state = at

    def _step(self, action: np.ndarray) -> Step:
        fresh = self.ended
        pair = self.at, action - self.action_space.start  # type: ignore[attr-defined]
        row = *pair, draw_outcomes(self.cumulative[pair], self._random())
        reward, terminated = self.gain[row], self.end[row] & ~fresh
        at, steps = self.successor[row], self.steps + 1
        if fresh.any():
            reward = np.where(fresh, 0.0, reward)
            at, steps = np.where(fresh, self._begin(), at), np.where(fresh, 0, steps)
        self._see(at, steps)
        return reward, terminated, (steps >= self.limit) & ~fresh

    def state_dict(self) -> dict[str, Any]:
        inner = {"at": self.at.copy(), "steps": self.steps.copy()}
        return {**super().state_dict(), **inner, "generator": self.generator.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._see(state["at"].copy(), state["steps"].copy())
        self.generator.bit_generator.state = state["generator"]

    def close(self) -> None:
        self.one.close()


class SharedDraws:
    """Uniform numbers, a stream a seed: columns of the same seed draw the same, step by step."""

    ROWS = 64  # that are drawn at once

    def __init__(self, seeds: Sequence[int]):
        distinct, self.column = np.unique(np.asarray(seeds), return_inverse=True)
        self.generators = [np.random.default_rng(int(seed)) for seed in distinct]
        self.rows, self.used = np.empty((0, len(distinct))), 0

    def random(self) -> np.ndarray:
        """The next of each column [N]"""
        if self.used == len(self.rows):
            self.rows = np.stack([generator.random(self.ROWS) for generator in self.generators], axis=1)
            self.used = 0
        self.used += 1
        row: np.ndarray = self.rows[self.used - 1]
        return row[self.column]


def tabulate_outcomes(table: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cumulative chances, successors, rewards and ends [S, A, K] of P[s][a] = [(chance, s', r, terminated),
    …], K the most outcomes.
    """
    most = max(len(outcomes) for by_action in table.values() for outcomes in by_action.values())
    shape = (len(table), len(table[0]), most)
    chance, successor, gain, end = (
        np.zeros(shape),
        np.zeros(shape, int),
        np.zeros(shape),
        np.zeros(shape, bool),
    )
    for s, by_action in table.items():
        for a, outcomes in by_action.items():
            for k, outcome in enumerate(outcomes):
                chance[s, a, k], successor[s, a, k], gain[s, a, k], end[s, a, k] = outcome
    return cumulate_chances(chance), successor, gain, end


def cumulate_chances(chance: np.ndarray) -> np.ndarray:
    """Cumulative sums that end in ∞: rounding must not let a draw fall behind the
    last outcome of positive chance.
    """
    total = chance.cumsum(-1)
    last = chance.shape[-1] - 1 - (chance[..., ::-1] > 0).argmax(-1)
    np.put_along_axis(total, last[..., None], np.inf, -1)
    return total


def draw_outcomes(cumulative: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The first outcome whose cumulative chance exceeds the draw [N]; cumulative [K] or [N, K]."""
    outcome: np.ndarray = (uniform[:, None] < cumulative).argmax(-1)
    return outcome
