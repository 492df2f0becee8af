"""gymnasium's classic control, one column at a time: the bits of its own classes, as they round.

``place`` [N, 4] are the columns' states in float64, in gymnasium's own units; where gymnasium keeps float32
(MountainCarContinuous after a step, Acrobot after a reset) so are the numbers.

Squares that gymnasium takes with ``**`` of NumPy's numbers are the C library's ``pow``, which is not x·x in
the last bit. ``two`` is an argument because the compiler would make x·x of a 2 that it sees.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from pgrun.kernels.jit import kernel
from pgrun.kernels.uniform import draw_uniform

CARTPOLE, PENDULUM, MOUNTAIN_CAR, MOUNTAIN_CAR_CONTINUOUS, ACROBOT = range(5)
f32 = np.float32
PI = math.pi
COS8, COS6, COS4 = (f32(float.fromhex(x)) for x in ("0x1.98e616p-16", "-0x1.6c06dcp-10", "0x1.55553cp-05"))
SIN9, SIN7, SIN5, SIN3 = (
    f32(float.fromhex(x)) for x in ("0x1.7d3bbcp-19", "-0x1.a06bbap-13", "0x1.11119ap-07", "-0x1.555556p-03")
)
LEAN = 12 * 2 * math.pi / 360  # of CartPole's pole, at most


@kernel(inner=True, allocates=True)
def begin_episode(kind, place, n, streams):
    """Draw a first state for column n from its own stream, of any environment but CartPole."""
    if kind == PENDULUM:
        place[n, 0] = draw_uniform(streams, n, -PI, PI)
        place[n, 1] = draw_uniform(streams, n, -1.0, 1.0)
    elif kind == ACROBOT:
        for k in range(4):
            place[n, k] = f32(draw_uniform(streams, n, -0.1, 0.1))
    else:
        place[n, 0] = draw_uniform(streams, n, -0.6, -0.4)
        place[n, 1] = 0.0


@kernel(inner=True, allocates=True)
def begin_cartpoles(place, ended, streams):
    """Draw first states for the columns that ``ended`` [N] names.

    All columns share one stream, which is drawn entry by entry over the columns.
    """
    for k in range(4):
        for n in range(len(place)):
            if ended[n]:
                place[n, k] = draw_uniform(streams, 0, -0.05, 0.05)


@kernel(inner=True, allocates=True)
def observe_column(kind, place, n, fresh, obs):
    """Write the observation of column n into ``obs[n]``; ``fresh``: right after a reset."""
    if kind == CARTPOLE:
        for k in range(4):
            obs[n, k] = f32(place[n, k])
    elif kind == PENDULUM:
        obs[n, 0] = f32(math.cos(place[n, 0]))
        obs[n, 1] = f32(math.sin(place[n, 0]))
        obs[n, 2] = f32(place[n, 1])
    elif kind == ACROBOT:
        for k in range(2):
            if fresh:
                obs[n, 2 * k], obs[n, 2 * k + 1] = approximate_turn(f32(place[n, k]))
            else:
                obs[n, 2 * k] = f32(math.cos(place[n, k]))
                obs[n, 2 * k + 1] = f32(math.sin(place[n, k]))
        obs[n, 4] = f32(place[n, 2])
        obs[n, 5] = f32(place[n, 3])
    else:
        obs[n, 0] = f32(place[n, 0])
        obs[n, 1] = f32(place[n, 1])


def emit_multiply_add(context: Any, a: Any, b: Any, c: Any) -> Any:
    """The instruction for a·b + c of float32, rounded once."""
    signature = types.float32(types.float32, types.float32, types.float32)
    return signature, lambda context, builder, signature, arguments: builder.fma(*arguments)


multiply_add: Any = intrinsic(emit_multiply_add)


@kernel(inner=True, allocates=True)
def approximate_turn(x):
    """(cos x, sin x) for |x| ≤ 0.1 in radians, by the polynomials that NumPy has for float32."""
    square = x * x
    c = multiply_add(multiply_add(COS8, square, COS6), square, COS4)
    s = multiply_add(multiply_add(multiply_add(SIN9, square, SIN7), square, SIN5), square, SIN3)
    return multiply_add(multiply_add(c, square, f32(-0.5)), square, f32(1)), multiply_add(s * square, x, x)


@kernel(inner=True, allocates=True)
def step_column(kind, place, n, choice, force, fresh, two):
    """(reward, terminated) of one step of column n, whose state moves on.

    ``choice`` is the action where actions are discrete, ``force`` where they are not; ``fresh``: the
    episode's first step.
    """
    if kind == CARTPOLE:
        return step_cartpole(place, n, choice)
    if kind == PENDULUM:
        return step_pendulum(place, n, force, two), False
    if kind == MOUNTAIN_CAR:
        return step_mountain_car(place, n, choice)
    if kind == ACROBOT:
        return step_acrobot(place, n, choice, two)
    if fresh:
        return step_continuous_car_first(place, n, force, two)
    return step_continuous_car(place, n, force, two)


@kernel(inner=True, allocates=True)
def clip_number(x, low, high):
    """x within [low, high]. NaN stays NaN."""
    return low if x < low else (high if x > high else x)


@kernel(inner=True, allocates=True)
def step_cartpole(place, n, choice):
    """CartPole's step of 0.02 s: (1, whether the cart or the pole is out of bounds)."""
    x, x_dot, theta, theta_dot = place[n, 0], place[n, 1], place[n, 2], place[n, 3]
    cos, sin = math.cos(theta), math.sin(theta)
    force = 10.0 if choice > 0 else -10.0
    temp = (force + 0.05 * (theta_dot * theta_dot) * sin) / 1.1
    turn = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * (cos * cos) / 1.1))
    push = temp - 0.05 * turn * cos / 1.1
    x, theta = x + 0.02 * x_dot, theta + 0.02 * theta_dot
    place[n, 0], place[n, 1], place[n, 2], place[n, 3] = (
        x,
        x_dot + 0.02 * push,
        theta,
        theta_dot + 0.02 * turn,
    )
    return 1.0, x < -2.4 or x > 2.4 or theta < -LEAN or theta > LEAN


@kernel(inner=True, allocates=True)
def step_pendulum(place, n, force, two):
    """Pendulum's reward −(angle² + 0.1 speed² + 0.001 torque²), and its step of 0.05 s."""
    theta, speed = place[n, 0], place[n, 1]
    u = clip_number(force, f32(-2), f32(2))
    upright = (theta + PI) % (2 * PI) - PI
    effort = f32(0.001) * math.pow(u, f32(two))
    cost = math.pow(upright, two) + 0.1 * math.pow(speed, two) + np.float64(effort)
    speed = clip_number(speed + (15.0 * math.sin(theta) + np.float64(f32(3) * u)) * 0.05, -8.0, 8.0)
    place[n, 0], place[n, 1] = theta + speed * 0.05, speed
    return -cost


@kernel(inner=True, allocates=True)
def step_mountain_car(place, n, choice):
    """MountainCar's step: (−1, whether the flag is reached)."""
    position, speed = place[n, 0], place[n, 1]
    speed = clip_number(speed + ((choice - 1) * 0.001 + math.cos(3 * position) * -0.0025), -0.07, 0.07)
    position = clip_number(position + speed, -1.2, 0.6)
    if position == -1.2 and speed < 0:
        speed = 0.0
    place[n, 0], place[n, 1] = position, speed
    return -1.0, position >= 0.5 and speed >= 0


@kernel(inner=True, allocates=True)
def step_continuous_car_first(place, n, force, two):
    """The first step of MountainCarContinuous, whose state is float64 then."""
    position = place[n, 0]
    change = force * f32(0.0015) - f32(0.0025 * math.cos(3 * position))
    speed = clip_number(place[n, 1] + np.float64(change), -0.07, 0.07)
    position = clip_number(position + speed, -1.2, 0.6)
    return finish_continuous_car(
        place, n, f32(position), f32(speed), force, position >= 0.45 and speed >= 0, two
    )


@kernel(inner=True, allocates=True)
def step_continuous_car(place, n, force, two):
    """A later step of MountainCarContinuous: all in float32."""
    position = f32(place[n, 0])
    change = force * f32(0.0015) - f32(0.0025 * math.cos(np.float64(f32(3) * position)))
    speed = clip_number(f32(place[n, 1]) + change, f32(-0.07), f32(0.07))
    position = clip_number(position + speed, f32(-1.2), f32(0.6))
    if position == f32(-1.2) and speed < 0:
        speed = f32(0)
    return finish_continuous_car(place, n, position, speed, force, position >= f32(0.45) and speed >= 0, two)


@kernel(inner=True, allocates=True)
def finish_continuous_car(place, n, position, speed, force, terminated, two):
    """Store MountainCarContinuous's state: (100 at the flag, less 0.1 force², whether it is reached)."""
    place[n, 0], place[n, 1] = position, speed
    return (100.0 if terminated else 0.0) - math.pow(np.float64(force), two) * 0.1, terminated


@kernel(inner=True, allocates=True)
def step_acrobot(place, n, choice, two):
    """Acrobot's step of 0.2 s by Runge and Kutta's fourth order: (reward, whether the tip is high enough)."""
    a, b, c, d = place[n, 0], place[n, 1], place[n, 2], place[n, 3]
    torque, half = choice - 1.0, 0.1
    a1, b1, c1, d1 = differentiate_acrobot(a, b, c, d, torque, two)
    a2, b2, c2, d2 = differentiate_acrobot(
        a + half * a1, b + half * b1, c + half * c1, d + half * d1, torque, two
    )
    a3, b3, c3, d3 = differentiate_acrobot(
        a + half * a2, b + half * b2, c + half * c2, d + half * d2, torque, two
    )
    a4, b4, c4, d4 = differentiate_acrobot(
        a + 0.2 * a3, b + 0.2 * b3, c + 0.2 * c3, d + 0.2 * d3, torque, two
    )
    sixth = 0.2 / 6.0
    a = wrap_angle(a + sixth * (a1 + 2 * a2 + 2 * a3 + a4))
    b = wrap_angle(b + sixth * (b1 + 2 * b2 + 2 * b3 + b4))
    c = clip_number(c + sixth * (c1 + 2 * c2 + 2 * c3 + c4), -4 * PI, 4 * PI)
    d = clip_number(d + sixth * (d1 + 2 * d2 + 2 * d3 + d4), -9 * PI, 9 * PI)
    place[n, 0], place[n, 1], place[n, 2], place[n, 3] = a, b, c, d
    terminated = -math.cos(a) - math.cos(b + a) > 1.0
    return (0.0 if terminated else -1.0), terminated


@kernel(inner=True, allocates=True)
def differentiate_acrobot(angle1, angle2, speed1, speed2, torque, two):
    """d/dt of Acrobot's state (two angles, two speeds), in the form of Sutton and Barto's book."""
    cos2, sin2 = math.cos(angle2), math.sin(angle2)
    d1 = 0.25 + (1.25 + cos2) + 1.0 + 1.0
    d2 = 0.25 + 0.5 * cos2 + 1.0
    phi2 = 0.5 * 9.8 * math.cos(angle1 + angle2 - PI / 2.0)
    phi1 = (
        -0.5 * math.pow(speed2, two) * sin2
        - speed2 * speed1 * sin2
        + 1.5 * 9.8 * math.cos(angle1 - PI / 2)
        + phi2
    )
    change2 = (torque + d2 / d1 * phi1 - 0.5 * math.pow(speed1, two) * sin2 - phi2) / (
        1.25 - math.pow(d2, two) / d1
    )
    return speed1, speed2, -(d2 * change2 + phi1) / d1, change2


@kernel(inner=True, allocates=True)
def wrap_angle(x):
    """The angle x in radians, brought into ±π by whole turns."""
    while x > PI:
        x -= 2 * PI
    while x < -PI:
        x += 2 * PI
    return x
