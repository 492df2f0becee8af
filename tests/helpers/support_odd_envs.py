"""Environments of users that are hard to save, to seed or to evaluate; registered as ``<Name>-v0``."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import NormalizeReward

ACTIONS = {
    "box": spaces.Box(-2, 2, (2,), np.float32),
    "multi_discrete": spaces.MultiDiscrete([5, 5]),
    "multi_binary": spaces.MultiBinary(2),
}


class Odd(gym.Env):
    """Episodes of ``length`` steps, reward 1, terminated at the end."""

    length = 10
    observation_space: spaces.Space = spaces.Box(-1, 1, (2,), np.float32)
    action_space: spaces.Space = spaces.Discrete(2)

    def obs(self) -> Any:
        return np.array([self.t / self.length, 1.0], np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.t = 0
        return self.obs(), {}

    def step(self, action):
        self.t += 1
        return self.obs(), 1.0, self.t >= self.length, False, {}


class Overwriting(Odd):
    """Writes into the action that it is given; what it does follows from the action alone."""

    length = 2000

    def __init__(self, actions: str = "box"):
        self.action_space = ACTIONS[actions]

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.x = np.zeros(2, np.float32)
        return super().reset(seed=seed)

    def obs(self) -> Any:
        return self.x.copy()

    def step(self, action):
        self.x = np.clip(self.x * 0.9 + 0.05 * action, -1, 1).astype(np.float32)
        action[:] = 1
        self.t += 1
        return self.obs(), float(-np.square(self.x - 0.5).sum()), False, self.t >= self.length, {}


class OldGenerator(Odd):
    """Seeds a generator of NumPy's old kind, which takes 32 bits."""

    def obs(self) -> Any:
        return self.random.uniform(-1, 1, 2).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        if seed is not None:
            self.random = np.random.RandomState(seed)
        return super().reset(seed=seed)


class Lingering(Odd):
    """Ends when the action changes: a policy that always does the same stays for ever."""

    def obs(self) -> Any:
        return np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.last = None
        return super().reset(seed=seed)

    def step(self, action):
        changed, self.last = self.last not in (None, action), action
        return self.obs(), 1.0, changed, False, {}


class SharedRandom(Odd):
    """Draws from generators that everything in the process shares."""

    def obs(self) -> Any:
        return np.array([np.random.uniform(-1, 1), random.uniform(-1, 1)], np.float32)


class Counting(Odd):
    """Its episodes become longer."""

    number = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.number += 1
        self.length = 4 + self.number
        return super().reset(seed=seed)


class Paying(Odd):
    """Every step pays more than the one before, in whatever episode that was; its
    observations do not show it.
    """

    paid = 0.0

    def step(self, action):
        self.paid += 1
        obs, _, terminated, truncated, info = super().step(action)
        return obs, self.paid, terminated, truncated, info


class Tabular(Odd):
    """A table of its own beside the steps: two states, of which each leads to the other."""

    P: ClassVar[dict] = {s: {a: [(1.0, 1 - s, 1.0, False)] for a in range(2)} for s in range(2)}

    observation_space = spaces.Discrete(2)
    initial_state_distrib = np.array([1.0, 0.0])

    def obs(self) -> Any:
        return self.t % 2


class OldNpRandom(Odd):
    """Has a generator of NumPy's old kind where gymnasium has its own."""

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        if seed is not None:
            self.np_random = np.random.RandomState(seed)
        return super().reset(seed=None)


def pendulum_with_normalised_rewards(**kwargs: Any) -> gym.Env:
    """A wrapper with statistics that last over episodes."""
    return NormalizeReward(gym.make("Pendulum-v1", **kwargs), gamma=0.99)


gym.register("NormalisedPendulum-v0", entry_point=pendulum_with_normalised_rewards)
for _cls in (Overwriting, OldGenerator, OldNpRandom, Lingering, SharedRandom, Counting, Paying, Tabular):
    gym.register(f"{_cls.__name__}-v0", entry_point=_cls)
