"""Environments that write down what really happened, and a plain reading of that record."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Recorded(gym.Env):
    """Episodes of random length (1 to 6), end and reward; every observation is
    unique; everything is written down.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, seed: int, longest: int = 6):
        self.random = np.random.default_rng(seed)
        self.longest, self.record, self.seen = longest, [], 10_000 * seed

    def _next(self) -> np.ndarray:
        self.seen += 1
        return np.array([self.seen, -self.seen / 7], np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.left = int(self.random.integers(1, self.longest + 1))
        obs = self._next()
        self.record.append(("reset", obs))
        return obs, {}

    def step(self, action):
        self.left -= 1
        obs, reward = self._next(), float(self.random.integers(-5, 6))
        terminated, truncated = (bool(x) and self.left == 0 for x in self.random.permutation([0, 1]))
        self.record.append(("step", int(action), reward, obs, terminated, truncated))
        return obs, reward, terminated, truncated, {}


@dataclass
class Row:
    obs: list[float]
    next: list[float]
    action: int | None  # None: the row resets
    reward: float
    terminated: bool
    ended: bool
    time: int


def rows(record: list) -> list[Row]:
    """One row for each event after the first reset, as NEXT_STEP autoreset has it."""
    actual, obs, time = [], record[0][1].tolist(), 0
    for event in record[1:]:
        if event[0] == "reset":
            actual.append(Row(obs, event[1].tolist(), None, 0.0, False, False, 0))
            obs, time = event[1].tolist(), 0
        else:
            _, action, reward, after, terminated, truncated = event
            actual.append(Row(obs, after.tolist(), action, reward, terminated, terminated or truncated, time))
            obs, time = after.tolist(), time + 1
    return actual


def episodes(record: list) -> list[list[Row]]:
    """The whole episodes of a record."""
    collected: list[list[Row]] = [[]]
    for row in rows(record):
        if row.action is not None:
            collected[-1].append(row)
            if row.ended:
                collected.append([])
    return [e for e in collected if e and e[-1].ended]
