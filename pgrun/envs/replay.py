"""Where one environment stands, as plain data: how its episode began, and the actions since. Played again, it stands there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np


@dataclass
class Replay:
    """Begun from a ``seed``, or from the state of the environment's own random generator before the reset."""

    seed: int | None
    generator: dict[str, Any] | None
    actions: list[Any] = field(default_factory=list)

    @classmethod
    def begin(cls, env: gym.Env, seed: int | None) -> Replay:
        """To be called before ``env.reset(seed=seed)``."""
        if seed is not None:
            return cls(seed, None)
        return cls(None, dict(env.unwrapped.np_random.bit_generator.state))

    def again(self, env: gym.Env, dtype: Any) -> Any:
        """Bring ``env`` to where it stood; its observation there."""
        if self.generator is not None:
            env.unwrapped.np_random.bit_generator.state = self.generator
        obs, _ = env.reset(seed=self.seed)
        for action in self.actions:
            obs, *_ = env.step(np.asarray(action, dtype) if isinstance(action, list) else action)
        return obs

    def state_dict(self) -> dict[str, Any]:
        """Numbers, lists and text only."""
        actions = [np.asarray(action).tolist() for action in self.actions]
        return {"seed": self.seed, "generator": self.generator, "actions": actions}
