"""gymnasium's classic control as compiled programs: the same numbers to the bit, all columns in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random

from pgrun.envs.spaces import box_constants
from pgrun.envs.vector import Envs, Step
from pgrun.kernels.classic_control import ACROBOT, CARTPOLE, MOUNTAIN_CAR, MOUNTAIN_CAR_CONTINUOUS, PENDULUM
from pgrun.kernels.columns import advance_columns
from pgrun.kernels.uniform import pack_stream

KINDS = {
    "CartPole-v1": CARTPOLE,
    "Pendulum-v1": PENDULUM,
    "MountainCar-v0": MOUNTAIN_CAR,
    "MountainCarContinuous-v0": MOUNTAIN_CAR_CONTINUOUS,
    "Acrobot-v1": ACROBOT,
}
STATE = 4  # numbers that a column's state has room for


class Program(Envs):
    """One of ``KINDS``. ``one``: gymnasium's, for its spaces and its limit."""

    is_program: ClassVar[bool] = True
    INNER = ("place", "steps", "streams")

    def __init__(self, one: gym.Env, num_envs: int):
        super().__init__(num_envs, one.observation_space, one.action_space)
        assert one.spec is not None
        self.one, self.kind = one, KINDS[one.spec.id]
        self.limit = one.spec.max_episode_steps or np.inf
        self.discrete = isinstance(one.action_space, gym.spaces.Discrete)
        self.box = np.zeros(4) if self.discrete else box_constants(one.action_space)[0]  # of one action
        self.place = np.zeros((num_envs, STATE))
        self.steps = np.zeros(num_envs, np.int64)
        self.rows = np.zeros((num_envs, self.obs_size), np.float32)  # observations as gymnasium gives them
        self.player: Any = None  # what plays whole rollouts of the last policy here
        self.streams = self.begin_streams([None] * num_envs)

    def begin_streams(self, seeds: Sequence[int | None]) -> np.ndarray:
        """Random streams [N, 4], or one, as gymnasium begins them."""
        needed = seeds[:1] if self.kind == CARTPOLE else seeds
        return np.stack([pack_stream(np_random(seed)[0].bit_generator.state) for seed in needed])

    @property
    def arguments(self) -> tuple[Any, ...]:
        """In the order of ``collect_rows``'s own."""
        moving = self.place, self.steps, self.streams, self.ended, self.active, self.rows
        return self.kind, float(self.limit), 2.0, self.box, *moving

    def _reset(self, seeds: Sequence[int] | None) -> None:
        if seeds is not None:
            self.streams = self.begin_streams(seeds)
        every = np.ones(self.num_envs, bool)
        self.advance(every, every, np.zeros(self.num_envs))

    def reset_alike(self, seeds: Sequence[int], noise_too: bool) -> None:
        """CartPole has one random stream for all columns, which nothing draws from after the start."""
        super().reset_alike(seeds, noise_too)
        if self.kind == CARTPOLE:
            inner: Any = self.one.unwrapped
            for column, seed in enumerate(seeds):
                self.rows[column] = self.one.reset(seed=seed)[0]
                self.place[column] = inner.state
            self.obs[:] = self.rows

    def _step(self, action: np.ndarray) -> Step:
        return self.advance(self.ended.copy(), self.active, action)  # a track holds ``ended``

    def advance(self, ended: np.ndarray, active: np.ndarray, action: np.ndarray) -> Step:
        """A step, or a reset where a column has ended."""
        n = self.num_envs
        reward, terminated, truncated = np.empty(n), np.empty(n, bool), np.empty(n, bool)
        choice = action.astype(np.int64) if self.discrete else np.empty(n, np.int64)
        force = np.empty(n, np.float32) if self.discrete else action.reshape(n).astype(np.float32)
        advance_columns(
            *(self.kind, float(self.limit), 2.0, self.place, self.steps, self.streams),
            *(ended, active, choice, force, self.rows, reward, terminated, truncated),
        )
        self.obs[:] = self.rows
        return reward, terminated, truncated

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **{name: getattr(self, name).copy() for name in self.INNER}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in self.INNER:
            setattr(self, name, state[name].copy())
        self.rows[:] = self.obs

    def close(self) -> None:
        self.one.close()
