"""An environment and a network of one's own: python examples/own_environment_and_network.py.

conf/network/convolution.yaml names the network's class. In a terminal, in this folder:
PYTHONPATH=. pgrun --config-dir conf modules=[own_environment_and_network] env=Corridor-v0 network=convolution
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from torch import nn

import pgrun
from pgrun.config.schema import PositiveInt
from pgrun.policies.policy import Network
from pgrun.policies.torch_module import TorchModuleNet


class Corridor(gym.Env):
    """A picture of a corridor: 1 where one stands, −1 at the exit, which is at either
    end and pays 1; a step costs 0.1.
    """

    observation_space = gym.spaces.Box(-1, 1, (12,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.exit = int(self.np_random.choice([0, 11]))
        self.place = int(self.np_random.integers(1, 11))
        return picture(self.exit, self.place), {}

    def step(self, action: int):
        self.place = min(max(self.place + (1 if action else -1), 0), 11)
        out = self.place == self.exit
        return picture(self.exit, self.place), 1.0 if out else -0.1, out, False, {}


def picture(exit: int, place: int) -> np.ndarray:
    cells = np.zeros(12, np.float32)
    cells[place], cells[exit] = 1, -1
    return cells


gym.register("Corridor-v0", Corridor, max_episode_steps=40)


@dataclass(frozen=True)
class Convolution(Network):
    """Any torch module that maps [B, inputs] to [B, outputs] row by row, for the
    policy and for the critic.
    """

    channels: PositiveInt = 8

    def net(self, inputs: int, outputs: int, free: int = 0) -> TorchModuleNet:
        def make() -> nn.Module:
            look = nn.Conv1d(1, self.channels, kernel_size=3, padding=1)
            last = nn.Linear(self.channels * inputs, outputs)
            return nn.Sequential(nn.Unflatten(1, (1, inputs)), look, nn.Tanh(), nn.Flatten(), last)

        return TorchModuleNet(make, inputs, free)


def main(steps: int = 8_000) -> None:
    words = (
        "algo=ppo env=Corridor-v0 network=convolution network.channels=4 sampler.steps=32 "
        f"trainer.total_steps={steps}"
    )
    # this very file, or notebook, is where the class is found: __name__
    run = pgrun.train(words, modules=[__name__], config_dir=Path(__file__).parent / "conf", quiet=True)
    print(f"return {run.summary['eval']['return_mean']:.2f} of at most 1")
    for exit in (0, 11):
        chances = run.policy.distribution(picture(exit, 6)).probabilities
        print(f"from the middle, the exit at {exit}: down with {chances[0]:.2f}, up with {chances[1]:.2f}")


if __name__ == "__main__":
    main()
