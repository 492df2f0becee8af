"""Compiled programs of environments beside gymnasium's own, stepped together."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.make import make_one
from pgrun.envs.program import Program
from pgrun.envs.vector import Envs, Loop, Native
from pgrun.kernels.uniform import pack_stream

LIMITS = (None, 37)


def gymnasiums(name: str, columns: int, limit: int | None = None) -> Loop | Native:
    """What the program stands for."""
    if name == "CartPole-v1":
        import gymnasium as gym

        given: dict[str, Any] = {"max_episode_steps": limit} if limit else {}
        return Native(gym.make_vec(name, columns, **given))
    return Loop(lambda: make_one(EnvSettings(name, columns, limit)), columns)


def program(name: str, columns: int, limit: int | None = None) -> Program:
    envs = make_envs(EnvSettings(name, columns, limit), columns)
    assert isinstance(envs, Program)
    return envs


def actions(envs: Envs, rng: np.random.Generator) -> np.ndarray:
    """Random ones; for half the mountain cars such that they arrive."""
    n, name = envs.num_envs, envs.name
    forward = envs.obs[:, 1] >= 0
    if "Continuous" in name:
        drawn = rng.normal(size=(n, 1)).astype(np.float32)
        return np.where(np.arange(n)[:, None] % 2, drawn, np.abs(drawn) * np.where(forward, 1, -1)[:, None])
    if "MountainCar" in name:
        return np.where(np.arange(n) % 2, rng.integers(0, 3, n), 2 * forward)
    if "Pendulum" in name:
        return rng.normal(size=(n, 1)).astype(np.float32)
    return rng.integers(0, envs.action_space.n, n)  # type: ignore[attr-defined]


def streams(envs: Envs) -> np.ndarray:
    """Where the generators stand."""
    if isinstance(envs, Program):
        return envs.streams
    inner = [envs.envs] if isinstance(envs, Native) else [env.unwrapped for env in envs.envs]  # type: ignore[attr-defined]
    return np.stack([pack_stream(env.np_random.bit_generator.state) for env in inner])


def first_difference(ours: Program, theirs: Envs, steps: int, seed: int) -> str | None:
    """What differs first in that many steps of the same actions, and where.

    Some episodes are cut. None: nothing differs, to the bit.
    """
    rng, cut = np.random.default_rng(seed), np.arange(ours.num_envs) % 2 == 0
    for t in range(steps):
        if t % 101 == 100:
            ours.cut(cut)
            theirs.cut(cut)
        action = actions(ours, rng)
        mine, other = ours.step(action), theirs.step(action)
        names = ("reward", "terminated", "truncated")
        pairs = {name: (x, y) for name, x, y in zip(names, mine, other, strict=True)}
        pairs |= {"obs": (ours.obs, theirs.obs), "ended": (ours.ended, theirs.ended)}
        for name, (x, y) in pairs.items():
            if not np.array_equal(x, y):
                return f"{name} in step {t}"
    return None if np.array_equal(streams(ours), streams(theirs)) else "streams"
