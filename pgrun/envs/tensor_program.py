"""Classic control as tensor programs: all columns stay on the policy's device, and the host sees no number of
a step.

The formulas are those of ``pgrun.kernels.classic_control`` in float64; sines and cosines are torch's, so that
the numbers equal the kernels' to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
import torch

from pgrun.config import random_streams
from pgrun.envs.spaces import box_bounds
from pgrun.envs.vector import Envs, Step

if TYPE_CHECKING:
    from torch import Tensor

    Moved = tuple[Tensor, Tensor, Tensor]  # state [N, S], reward [N], terminated [N]

LEAN = 12 * 2 * math.pi / 360  # of CartPole's pole, at most


def step_cartpole_tensors(place: Tensor, action: Tensor) -> Moved:
    """CartPole's step of 0.02 s under actions [N] of 0 and 1: reward 1, terminal out of bounds."""
    x, x_dot, theta, theta_dot = place.unbind(1)
    cos, sin = theta.cos(), theta.sin()
    force = torch.where(action > 0, 10.0, -10.0)
    temp = (force + 0.05 * (theta_dot * theta_dot) * sin) / 1.1
    turn = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * (cos * cos) / 1.1))
    push = temp - 0.05 * turn * cos / 1.1
    moved = torch.stack(
        [x + 0.02 * x_dot, x_dot + 0.02 * push, theta + 0.02 * theta_dot, theta_dot + 0.02 * turn], 1
    )
    terminated = (moved[:, 0].abs() > 2.4) | (moved[:, 2].abs() > LEAN)
    return moved, torch.ones_like(x), terminated


def step_pendulum_tensors(place: Tensor, force: Tensor) -> Moved:
    """Pendulum's step of 0.05 s under torques [N]: −(angle² + 0.1 speed² + 0.001 torque²), never over."""
    theta, speed = place.unbind(1)
    u = force.clamp(-2, 2)
    upright = (theta + math.pi) % (2 * math.pi) - math.pi
    cost = upright.square() + 0.1 * speed.square() + 0.001 * u.square()
    speed = (speed + (15.0 * theta.sin() + 3.0 * u) * 0.05).clamp(-8.0, 8.0)
    return torch.stack([theta + speed * 0.05, speed], 1), -cost, torch.zeros_like(theta, dtype=torch.bool)


def observe_pendulum(place: Tensor) -> Tensor:
    """(cos, sin, speed) [N, 3]"""
    theta, speed = place.unbind(1)
    return torch.stack([theta.cos(), theta.sin(), speed], 1)


# step, observation, and the bounds between which first states are drawn
TENSOR_PROGRAMS: dict[str, tuple[Callable[..., Moved], Callable[[Tensor], Tensor], list[float]]] = {
    "CartPole-v1": (step_cartpole_tensors, lambda place: place, [0.05] * 4),
    "Pendulum-v1": (step_pendulum_tensors, observe_pendulum, [math.pi, 1.0]),
}


class TensorProgram(Envs):
    """One of ``TENSOR_PROGRAMS`` on a device. ``one``: gymnasium's, for its spaces and its limit.

    ``advance`` is a step for whoever has tensors; ``step`` is the same for samplers that have arrays.
    """

    on_device: ClassVar[bool] = True
    INNER = ("place", "steps", "over", "seen", "total")

    def __init__(self, one: gym.Env, num_envs: int, device: str):
        super().__init__(num_envs, one.observation_space, one.action_space)
        assert one.spec is not None
        self.one, self.device = one, torch.device(device)
        self.limit = one.spec.max_episode_steps or np.inf
        self.move, self.observe, reach = TENSOR_PROGRAMS[one.spec.id]
        self.reach = torch.tensor(reach, dtype=torch.float64, device=device)
        self.place = torch.zeros(num_envs, len(reach), dtype=torch.float64, device=device)
        self.steps = torch.zeros(num_envs, dtype=torch.int64, device=device)  # of the episode under way
        self.over = torch.zeros(num_envs, dtype=torch.bool, device=device)  # the next step resets
        self.seen = torch.zeros(num_envs, self.obs_size, device=device)  # observations
        self.total = torch.zeros(num_envs, dtype=torch.float64, device=device)  # return under way
        self.generator = random_streams.make_generator(np.random.SeedSequence(0), device)
        self.player: Any = None  # what plays whole rollouts of the last policy here
        self.force = make_force(one.action_space)

    def keep_float64(self) -> None:
        super().keep_float64()
        self.seen = self.seen.double()

    def draw_starts(self, steps: int) -> Tensor:
        """First states for every column at each of so many steps [T, N, S], used where one begins."""
        shape = (steps, *self.place.shape)
        draws = torch.rand(shape, dtype=torch.float64, device=self.device, generator=self.generator)
        return (2 * draws - 1) * self.reach

    def advance(self, action: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reward, terminated, truncated) [N] of a step; a column that is over begins at ``start`` [N, S].

        All that the next step needs is changed in place, so that the step can be captured.
        """
        fresh = self.over.clone()
        place, reward, terminated = self.move(self.place, self.force(action))
        self.place.copy_(torch.where(fresh[:, None], start, place))
        self.steps.copy_(torch.where(fresh, 0, self.steps + 1))
        reward, terminated = torch.where(fresh, 0.0, reward), terminated & ~fresh
        truncated = (self.steps >= self.limit) & ~fresh
        self.seen.copy_(self.observe(self.place))
        self.over.copy_(terminated | truncated)
        self.total.copy_(torch.where(fresh, 0.0, self.total + reward))
        return reward, terminated, truncated

    def _reset(self, seeds: Sequence[int] | None) -> None:
        if seeds is not None:
            self.generator = random_streams.make_generator(
                np.random.SeedSequence(list(seeds)), str(self.device)
            )
        self.over.fill_(True)
        self._act(torch.zeros(self.num_envs, device=self.device))

    def step(self, action: np.ndarray) -> Step:
        """``action``: as the policy has it; ``advance`` decodes it."""
        reward, terminated, truncated = self._act(torch.from_numpy(action).to(self.device))
        self.ended = terminated | truncated
        return reward, terminated, truncated

    def _act(self, action: Tensor) -> Step:
        reward, terminated, truncated = self.advance(action, self.draw_starts(1)[0])
        self.obs[:] = self.seen.cpu().numpy()
        return reward.cpu().numpy(), terminated.cpu().numpy(), truncated.cpu().numpy()

    def cut(self, columns: np.ndarray) -> None:
        super().cut(columns)
        self.over |= torch.from_numpy(columns).to(self.device)

    def state_dict(self) -> dict[str, Any]:
        inner = {name: getattr(self, name).clone() for name in self.INNER}
        return {**super().state_dict(), **inner, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in self.INNER:
            getattr(self, name).copy_(state[name])
        self.generator.set_state(state["generator"])

    def close(self) -> None:
        self.one.close()


def make_force(space: gym.Space[Any]) -> Callable[[Tensor], Tensor]:
    """``action_decoder`` for tensors: choices as they are, the numbers of a Box of one action as [N]."""
    if not isinstance(space, gym.spaces.Box):
        return lambda action: action
    low, high = (float(x.item()) for x in box_bounds(space))
    scale, middle = (high - low) / 2, (high + low) / 2
    return lambda action: (action.flatten() * scale + middle).clamp(low, high).double()
