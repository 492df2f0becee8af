"""What a sick run is made of: environments and an algorithm with something wrong, for
``modules=[doctor_module]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

from pgrun.algorithms.ppo import Ppo
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Flipped(Ppo):
    """Down the gradient instead of up."""

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return -super().surrogate(log_prob, batch)

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return -super().gradient_weight(log_prob, batch)


class FarAway(gym.ObservationWrapper):
    """Observations around 10 000."""

    def __init__(self, env: gym.Env, offset: float = 1e4):
        super().__init__(env)
        self.offset = offset
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, env.observation_space.shape, np.float64)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation + self.offset


class Endless(gym.Env):
    """No episode ever ends; the reward is for the action that has the sign of the state."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.draw(), {}

    def step(self, action):
        reward = float(action == (self.state[0] > 0))
        return self.draw(), reward, False, False, {}

    def draw(self) -> np.ndarray:
        self.state = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.state


def cartpole() -> gym.Env:
    return gym.make("CartPole-v1")


for name, make in {
    "FarAway-v0": lambda: FarAway(cartpole()),
    "Endless-v0": Endless,
    "Dear-v0": lambda scale=1e4: gym.wrappers.TransformReward(cartpole(), lambda r: scale * r),
}.items():
    if name not in gym.registry:
        gym.register(name, make)
