"""Environments that go wrong in a given way, at a given step of their second episode; registered as
``BadEnv-v0`` and ``Endless-v0``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

LENGTH = 4  # steps of an episode
AT = 3  # the step that goes wrong
FINE = np.zeros(2, np.float32)


def crash() -> Any:
    raise ValueError("the line is cut")


# what ``step`` returns instead, and what has to be said of it
STEPS: dict[str, tuple[Callable[[], Any], str]] = {
    "raises": (crash, r"step raised ValueError: the line is cut \(support_bad_env\.py, line \d+\)"),
    "exits": (lambda: sys.exit(3), r"step called sys\.exit\(3\)"),
    "returns nothing": (
        lambda: None,
        "step must return .observation, reward, terminated, truncated, info., not NoneType None$",
    ),
    "returns four": (lambda: (FINE, 1.0, False, {}), "step must return .*expected 5, got 4"),
    "returns six": (lambda: (FINE, 1.0, False, False, {}, 0), "step must return .*expected 5"),
    "observes too much": (
        lambda: (np.zeros(3), 1.0, False, False, {}),
        r"its observation has shape \(3,\), and its observation space \(2,\)",
    ),
    "observes one for all": (lambda: (np.zeros(1), 1.0, False, False, {}), r"shape \(1,\), and"),
    "observes a column": (lambda: (np.zeros((2, 1)), 1.0, False, False, {}), r"shape \(2, 1\), and"),
    "observes none": (lambda: (None, 1.0, False, False, {}), r"shape \(\), and"),
    "observes text": (
        lambda: (["a", "b"], 1.0, False, False, {}),
        "its observation is not made of numbers: ",
    ),
    "observes None in it": (
        lambda: ([None, 1.0], 1.0, False, False, {}),
        "observation is nan in its entry 0 of 2$",
    ),
    "observes NaN": (
        lambda: (np.array([0, np.nan]), 1.0, False, False, {}),
        "observation is nan in its entry 1 of 2$",
    ),
    "observes infinity": (
        lambda: (np.array([-np.inf, 0]), 1.0, False, False, {}),
        "observation is -inf in its entry 0 of 2$",
    ),
    "observes 1e300": (
        lambda: (np.array([1e300, 0]), 1.0, False, False, {}),
        "observation is inf in its entry 0 of 2$",
    ),
    "pays NaN": (lambda: (FINE, np.nan, False, False, {}), "reward is nan$"),
    "pays infinity": (lambda: (FINE, -np.inf, False, False, {}), "reward is -inf$"),
    "pays 1e39": (lambda: (FINE, 1e39, False, False, {}), r"reward is 1e\+39$"),
    "pays nothing": (lambda: (FINE, None, False, False, {}), "reward must be a number, not NoneType None"),
    "pays text": (lambda: (FINE, "3", False, False, {}), "reward must be a number, not str '3'"),
    "pays a list": (lambda: (FINE, [1.0], False, False, {}), r"reward must be a number, not list \[1.0\]"),
    "pays an array": (lambda: (FINE, np.ones(1), False, False, {}), "reward must be a number, not ndarray"),
    "pays a complex": (lambda: (FINE, 1j, False, False, {}), "reward must be a number, not complex"),
    "pays 10^400": (lambda: (FINE, 10**400, False, False, {}), "reward must be a number, not int 1000"),
    "ends with None": (
        lambda: (FINE, 1.0, None, False, {}),
        "terminated must be True or False, not NoneType None",
    ),
    "ends with 1": (lambda: (FINE, 1.0, 1, False, {}), "terminated must be True or False, not int 1"),
    "ends with text": (
        lambda: (FINE, 1.0, "no", False, {}),
        "terminated must be True or False, not str 'no'",
    ),
    "ends with a list": (
        lambda: (FINE, 1.0, [False], False, {}),
        "terminated must be True or False, not list",
    ),
    "is cut with 0.0": (
        lambda: (FINE, 1.0, False, 0.0, {}),
        "truncated must be True or False, not float 0.0",
    ),
}
RESETS: dict[str, tuple[Callable[[], Any], str]] = {
    "raises": (crash, "reset raised ValueError: the line is cut"),
    "exits": (lambda: sys.exit("gone"), r"reset called sys\.exit\('gone'\)"),
    "returns nothing": (lambda: None, "reset must return .observation, info., not NoneType None$"),
    "returns an observation": (
        lambda: FINE,
        "reset must return .observation, info., not ndarray .*: gym before 0.26 had",
    ),
    "observes too little": (lambda: (np.zeros(1), {}), r"its observation has shape \(1,\), and"),
    "observes NaN": (lambda: (np.full(2, np.nan), {}), "observation is nan in its entry 0 of 2$"),
}


class BadEnv(gym.Env):
    """Fine episodes of four steps; the second (1, counted from 0) goes wrong.

    ``step`` or ``reset`` says how.
    """

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    broken = True  # to be mended between two runs

    def __init__(self, step: str | None = None, reset: str | None = None, episode: int = 1):
        self.wrong_step, self.wrong_reset, self.episode, self.number = step, reset, episode, -1

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.number, self.t = self.number + 1, 0
        if self.broken and self.wrong_reset and self.number == self.episode:
            return RESETS[self.wrong_reset][0]()
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        self.t += 1
        if self.broken and self.wrong_step and (self.number, self.t) == (self.episode, AT):
            return STEPS[self.wrong_step][0]()
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), 1.0, self.t == LENGTH, False, {}


class Endless(BadEnv):
    """Never ends."""

    def step(self, action):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), 1.0, False, False, {}


gym.register("BadEnv-v0", BadEnv)
gym.register("Endless-v0", Endless)
