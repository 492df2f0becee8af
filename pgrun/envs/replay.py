"""Where one environment stands, as how its episode began, and what was done in it since.

Played again, it stands there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from pgrun.envs.faults import Unrepeatable

BUDGET = 2**28  # bytes of the records of all columns of a run together
FIRST = 64  # steps that a record has room for at first
log = logging.getLogger(__name__)


class ByReplay:
    """One column's record: the ``seed`` of its episode, or the state of the environment's generator before
    it; the actions since, and what they brought.

    ``room``: bytes that it may have; an episode that needs more is recorded no longer.
    ``where``: the column's name in messages.
    """

    def __init__(self, room: int, where: Callable[[], str]):
        self.room, self.where = room, where
        self.begun(None, None)

    def begun(self, seed: int | None, generator: dict[str, Any] | None) -> None:
        self.seed, self.generator = seed, generator
        self.steps = 0  # of the episode
        self.too_long = False
        self.actions = self.rewards = np.zeros(0)  # [steps, …], with room for more
        self.ends = (False, False)  # terminated and truncated, of the last step

    def begin(self, env: gym.Env, seed: int | None) -> None:
        """To be called before ``env.reset(seed=seed)``."""
        own = getattr(env.unwrapped.np_random, "bit_generator", None)  # a RandomState has none
        generator = None if seed is not None or own is None else dict(own.state)
        self.begun(seed, generator)

    def act(self, action: Any) -> None:
        """To be called before ``env.step(action)``: what is recorded is a copy, for an environment may write
        into its action.
        """
        if self.steps >= len(self.actions) and not self.too_long:
            self.grow(action)
        if not self.too_long:
            self.actions[self.steps] = action
        self.steps += 1

    def came(self, reward: Any, terminated: Any, truncated: Any) -> None:
        """What the step has brought."""
        if not self.too_long:
            self.rewards[self.steps - 1] = reward
            self.ends = bool(terminated), bool(truncated)

    def grow(self, action: Any) -> None:
        """Twice the room, up to the limit; an episode that goes on beyond is given up."""
        rows = min(max(FIRST, 2 * self.steps), self.room // (action.nbytes + self.rewards.itemsize))
        if rows <= self.steps:
            self.too_long, self.actions, self.rewards = True, np.zeros(0), np.zeros(0)
            log.warning(
                "%s: %s. The run goes on; env.max_episode_steps limits episodes",
                self.where(),
                self.unrecorded(),
            )
            return
        actions, rewards = np.zeros((rows, *action.shape), action.dtype), np.zeros(rows)
        if self.steps:
            actions[: self.steps], rewards[: self.steps] = self.actions, self.rewards
        self.actions, self.rewards = actions, rewards

    def unrecorded(self) -> str:
        return (
            f"its episode has {self.steps:,} steps and more, and its state cannot be read: too many to be "
            "recorded and played again, so that a run interrupted within it goes on with a fresh episode "
            "(env.restart=true)"
        )

    def state_dict(self, env: gym.Env) -> dict[str, Any]:
        steps = 0 if self.too_long else self.steps
        return {
            "seed": self.seed,
            "generator": self.generator,
            "steps": self.steps,
            "too_long": self.too_long,
            "actions": self.actions[:steps],
            "rewards": self.rewards[:steps],
            "ends": list(self.ends),
        }

    def take(self, state: dict[str, Any]) -> None:
        """The record of ``state_dict``. Raises ``ValueError`` where it is none."""
        self.begun(state["seed"], state["generator"])
        self.steps, self.too_long = state["steps"], state["too_long"]
        self.actions, self.rewards, self.ends = state["actions"], state["rewards"], tuple(state["ends"])
        recorded = 0 if self.too_long else self.steps
        if not len(self.actions) == len(self.rewards) == recorded:
            raise ValueError(f"{len(self.actions)} actions, {len(self.rewards)} rewards, {self.steps} steps")

    def play(self, env: gym.Env) -> Any:
        """Bring ``env`` to where it stood; the observation there.

        Raises ``Unrepeatable`` where another reward or end comes.
        """
        if self.too_long:
            raise Unrepeatable(self.unrecorded())
        if self.generator is not None:
            env.unwrapped.np_random.bit_generator.state = self.generator
        obs, _ = env.reset(seed=self.seed)
        for t in range(self.steps):
            obs, reward, terminated, truncated, _ = env.step(self.actions[t].copy())
            self.compare(t, reward, terminated, truncated)
        return obs

    def compare(self, t: int, reward: Any, terminated: bool, truncated: bool) -> None:
        ends = self.ends if t == self.steps - 1 else (False, False)
        if float(reward) != self.rewards[t]:
            raise Unrepeatable(f"in step {t + 1} its reward is {float(reward)} and was {self.rewards[t]}")
        if (bool(terminated), bool(truncated)) != ends:
            raise Unrepeatable(
                f"in step {t + 1} its episode ends, or does not, where it was the other way round"
            )
