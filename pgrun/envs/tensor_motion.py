"""The steps of classic control for all columns at once: the formulas of ``pgrun.kernels.classic_control``.

``place`` [N, S] are states in float64; where gymnasium keeps float32 (MountainCarContinuous after a step,
Acrobot after a reset) so are the numbers. Sines, cosines and squares are torch's, so that a step equals the
kernels' to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    Moved = tuple[Tensor, Tensor, Tensor]  # state [N, S], reward [N], terminated [N]

PI = math.pi
LEAN = 12 * 2 * PI / 360  # of CartPole's pole, at most
# MountainCarContinuous's constants, as float32 has them
POWER, FASTEST, LEFT, RIGHT, FLAG = (float(np.float32(x)) for x in (0.0015, 0.07, -1.2, 0.6, 0.45))


@dataclass(frozen=True)
class Motion:
    """``step(place, action [N], first [N])``, ``first`` where it is the episode's first; ``observe(place)``
    [N, D]; and the bounds between which first states are drawn, uniformly.
    """

    step: Callable[[Tensor, Tensor, Tensor], Moved]
    observe: Callable[[Tensor], Tensor]
    low: Sequence[float]
    high: Sequence[float]
    starts_in_float32: bool = False


def round_to_float32(x: Tensor) -> Tensor:
    """x in float64, as float32 has it. One operation on float32 numbers in float64, rounded so, is float32's
    own.
    """
    return x.float().double()


def step_cartpole_tensors(place: Tensor, action: Tensor, first: Tensor) -> Moved:
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


def step_pendulum_tensors(place: Tensor, force: Tensor, first: Tensor) -> Moved:
    """Pendulum's step of 0.05 s under torques [N]: −(angle² + 0.1 speed² + 0.001 torque²), never over."""
    theta, speed = place.unbind(1)
    u = force.clamp(-2, 2)
    upright = (theta + PI) % (2 * PI) - PI
    cost = upright.square() + 0.1 * speed.square() + 0.001 * u.square()
    speed = (speed + (15.0 * theta.sin() + 3.0 * u) * 0.05).clamp(-8.0, 8.0)
    return torch.stack([theta + speed * 0.05, speed], 1), -cost, torch.zeros_like(first)


def observe_pendulum(place: Tensor) -> Tensor:
    """(cos, sin, speed) [N, 3]"""
    theta, speed = place.unbind(1)
    return torch.stack([theta.cos(), theta.sin(), speed], 1)


def step_mountain_car_tensors(place: Tensor, action: Tensor, first: Tensor) -> Moved:
    """MountainCar's step under actions [N] of 0, 1 and 2: reward −1, terminal at the flag."""
    position, speed = place.unbind(1)
    push = (action - 1).double() * 0.001
    speed = (speed + (push + (3 * position).cos() * -0.0025)).clamp(-0.07, 0.07)
    position = (position + speed).clamp(-1.2, 0.6)
    speed = torch.where((position == -1.2) & (speed < 0), 0.0, speed)
    return (
        torch.stack([position, speed], 1),
        torch.full_like(position, -1.0),
        (position >= 0.5) & (speed >= 0),
    )


def step_continuous_car_tensors(place: Tensor, force: Tensor, first: Tensor) -> Moved:
    """MountainCarContinuous's step under forces [N]: 100 at the flag, less 0.1 force².

    The state is float64 in an episode's first step and float32 afterwards.
    """

    def rounded_later(x: Tensor) -> Tensor:
        return torch.where(first, x, round_to_float32(x))

    position, speed = place.unbind(1)
    slope = round_to_float32(0.0025 * rounded_later(3 * position).cos())
    change = round_to_float32(round_to_float32(force * POWER) - slope)
    speed = rounded_later(speed + change).clamp(-FASTEST, FASTEST)
    position = rounded_later(position + speed).clamp(LEFT, RIGHT)
    speed = torch.where((position == LEFT) & (speed < 0), 0.0, speed)
    terminated = (position >= FLAG) & (speed >= 0)
    reward = torch.where(terminated, 100.0, 0.0) - 0.1 * force.square()
    return round_to_float32(torch.stack([position, speed], 1)), reward, terminated


def step_acrobot_tensors(place: Tensor, action: Tensor, first: Tensor) -> Moved:
    """Acrobot's step of 0.2 s by Runge and Kutta's fourth order, under actions [N] of 0, 1 and 2: reward −1,
    terminal where the tip is high enough, with reward 0.
    """
    torque = action.double() - 1.0
    k1 = differentiate_acrobot_tensors(place, torque)
    k2 = differentiate_acrobot_tensors(place + 0.1 * k1, torque)
    k3 = differentiate_acrobot_tensors(place + 0.1 * k2, torque)
    k4 = differentiate_acrobot_tensors(place + 0.2 * k3, torque)
    a, b, c, d = (place + 0.2 / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)).unbind(1)
    a, b = wrap_angle_tensors(a), wrap_angle_tensors(b)
    moved = torch.stack([a, b, c.clamp(-4 * PI, 4 * PI), d.clamp(-9 * PI, 9 * PI)], 1)
    terminated = -a.cos() - (b + a).cos() > 1.0
    return moved, torch.where(terminated, 0.0, -1.0).double(), terminated


def differentiate_acrobot_tensors(place: Tensor, torque: Tensor) -> Tensor:
    """d/dt of Acrobot's states (two angles, two speeds) [N, 4], in the form of Sutton and Barto's book."""
    angle1, angle2, speed1, speed2 = place.unbind(1)
    cos2, sin2 = angle2.cos(), angle2.sin()
    d1 = 0.25 + (1.25 + cos2) + 1.0 + 1.0
    d2 = 0.25 + 0.5 * cos2 + 1.0
    phi2 = 0.5 * 9.8 * (angle1 + angle2 - PI / 2.0).cos()
    phi1 = -0.5 * speed2.square() * sin2 - speed2 * speed1 * sin2 + 1.5 * 9.8 * (angle1 - PI / 2).cos() + phi2
    change2 = (torque + d2 / d1 * phi1 - 0.5 * speed1.square() * sin2 - phi2) / (1.25 - d2.square() / d1)
    return torch.stack([speed1, speed2, -(d2 * change2 + phi1) / d1, change2], 1)


def wrap_angle_tensors(x: Tensor) -> Tensor:
    """Angles in radians, brought into ±π by whole turns."""
    above, below = ((x - PI) / (2 * PI)).ceil().clamp(min=0), ((x + PI) / (2 * PI)).floor().clamp(max=0)
    return x - 2 * PI * (above + below)


def observe_acrobot(place: Tensor) -> Tensor:
    """(cos, sin) of both angles, and both speeds [N, 6]"""
    a, b, c, d = place.unbind(1)
    return torch.stack([a.cos(), a.sin(), b.cos(), b.sin(), c, d], 1)


def observe_place(place: Tensor) -> Tensor:
    """The state itself."""
    return place


CAR = ([-0.6, 0.0], [-0.4, 0.0])  # where cars begin: at rest near the bottom
MOTIONS: dict[str, Motion] = {
    "CartPole-v1": Motion(step_cartpole_tensors, observe_place, [-0.05] * 4, [0.05] * 4),
    "Pendulum-v1": Motion(step_pendulum_tensors, observe_pendulum, [-PI, -1.0], [PI, 1.0]),
    "MountainCar-v0": Motion(step_mountain_car_tensors, observe_place, *CAR),
    "MountainCarContinuous-v0": Motion(step_continuous_car_tensors, observe_place, *CAR),
    "Acrobot-v1": Motion(step_acrobot_tensors, observe_acrobot, [-0.1] * 4, [0.1] * 4, True),
}
