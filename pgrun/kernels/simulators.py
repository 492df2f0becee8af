"""MuJoCo's tasks under a policy: acting and steps of several columns in one call, until their episodes end.

The simulator is MuJoCo itself: its functions are called by their addresses, on the memory of the model and
the data that Python's objects hold. What a task makes of them (observation, reward, end) is gymnasium's, to
the bit, as ``envs.simulated`` has it in Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pgrun.kernels.acting import (
    evaluate_row,
    find_widest_layer,
    normalise_observation,
    sample_gaussian,
)
from pgrun.kernels.collecting import copy_row, decode_action
from pgrun.kernels.jit import kernel

# Tasks; a runner is HalfCheetah or Swimmer.
RUNNER, WALKER, HOPPER, PENDULUM = range(4)
# Rows of ``places``: addresses of a column's model, data, positions, velocities and controls.
MODEL, DATA, QPOS, QVEL, CTRL = range(5)
# Entries of ``numbers``.
DT, FORWARD, COST, EARNS, LOW_Z, HIGH_Z, LOW_ANGLE, HIGH_ANGLE, LOW, HIGH = range(10)
# Entries of ``counts``.
KIND, FRAMES, POSITIONS, VELOCITIES, HIDDEN, ENDS = range(6)
WORD = ir.IntType(64)
REAL = ir.DoubleType()


def emit_call(typing: Any, address: Any, model: Any, data: Any) -> Any:
    """The C function at an address, of two pointers and without a result."""

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [WORD, WORD])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


def emit_read(typing: Any, address: Any, index: Any) -> Any:
    """The number x[index] of doubles that begin at an address."""

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(builder.inttoptr(args[0], REAL.as_pointer()), [args[1]]))

    return types.float64(types.int64, types.int64), emit


def emit_write(typing: Any, address: Any, index: Any, number: Any) -> Any:
    """Do x[index] = number for doubles that begin at an address."""

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], REAL.as_pointer()), [args[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), emit


call_simulator: Any = intrinsic(emit_call)
read_number: Any = intrinsic(emit_read)
write_number: Any = intrinsic(emit_write)


@kernel(allocates=True)
def play_simulators(
    part, going, reached, most, layers, free, sizes, head, relu, gaussian, normalised, mean, scale,
    counts, numbers, box, functions, places, single, elapsed, limits, ended, active, fresh, now, sampled,
    noise, records,
):  # fmt: skip
    """Play each column n of ``part`` that is ``going``, from its row ``reached[n]`` on until its episode ends
    or the row ``most`` is reached. No column reads what another one writes.

    ``part`` is (first column, the one behind the last). The policy, up to ``scale``, is
    ``CompiledActor.arguments``. ``counts`` and ``numbers`` are those of the task, ``box`` [A, 4] its actions'
    (scale, middle, low, high), ``functions`` the addresses of ``mj_step`` and ``mj_rnePostConstraint``. A
    column that ``ended`` stands at ``fresh`` [N, D] after its first row, whose only deed that is; one that is
    not ``active`` stays where it is. ``now`` [N, D] are the observations, float64, rounded to float32 if
    ``single``; ``elapsed`` [N] steps of an episode have ``limits`` [N]. ``records`` are (obs [T+1, N, D],
    action [T, N, A], reward [T, N], terminated, truncated).
    """
    obs, force, reward, terminated, truncated = records
    rows = np.empty((2, find_widest_layer(sizes)), np.float32)
    params = np.empty(2 * (sizes[-1] - head), np.float32)
    acted = np.empty(force.shape[2], np.float32)
    for n in range(part[0], part[1]):
        while going[n] and reached[n] < most:
            t = reached[n]
            copy_row(now[n], obs[t, n])
            normalise_observation(now[n], normalised, mean, scale, rows[0])
            evaluate_row(layers, sizes, head, relu, rows, params)
            sample_gaussian(params, free, sampled, noise[t, n] if sampled else noise[0, 0], force[t, n])
            reward[t, n], terminated[t, n], truncated[t, n] = 0.0, False, False
            reached[n] += 1
            if not active[n]:
                continue
            if ended[n]:
                ended[n] = False
                copy_row(fresh[n], now[n])
                continue
            for k in range(len(acted)):
                acted[k] = decode_action(force[t, n, k], box[k])
            before = read_number(places[QPOS, n], 0)
            move_simulator(places, n, acted, counts, functions)
            reward[t, n], terminated[t, n] = look_at_task(places, n, before, acted, counts, numbers, now[n])
            for d in range(now.shape[1]):
                now[n, d] = np.float64(np.float32(now[n, d])) if single else now[n, d]
            elapsed[n] += 1
            truncated[t, n] = elapsed[n] >= limits[n]
            ended[n] = terminated[t, n] or truncated[t, n]
            if ended[n]:
                break
        copy_row(now[n], obs[reached[n], n])


@kernel(inner=True, allocates=True)
def move_simulator(places, n, action, counts, functions):
    """Controls in, then the frames of a step."""
    model, data = places[MODEL, n], places[DATA, n]
    for k in range(len(action)):
        write_number(places[CTRL, n], k, np.float64(action[k]))
    for _ in range(counts[FRAMES]):
        call_simulator(functions[0], model, data)
    call_simulator(functions[1], model, data)


@kernel(inner=True, allocates=True)
def look_at_task(places, n, before, action, counts, numbers, obs):
    """(reward, terminated) after a step that began at the position ``before``; ``obs`` is filled in."""
    kind, qpos, qvel = counts[KIND], places[QPOS, n], places[QVEL, n]
    hidden, seen = counts[HIDDEN], counts[POSITIONS] - counts[HIDDEN]
    for k in range(seen):
        obs[k] = read_number(qpos, hidden + k)
    for k in range(counts[VELOCITIES]):
        v = read_number(qvel, k)
        if kind in (WALKER, HOPPER):
            v = -10.0 if v < -10.0 else (10.0 if v > 10.0 else v)
        obs[seen + k] = v
    if kind == PENDULUM:
        upright = stays_upright(obs)
        return 1.0 if upright else 0.0, not upright
    alive, terminated, squares = 0.0, False, np.float32(0)
    if kind != RUNNER:
        healthy = is_healthy(kind, qpos, qvel, counts, numbers)
        alive, terminated = numbers[EARNS] if healthy else 0.0, not healthy and counts[ENDS] == 1
    for k in range(len(action)):
        squares += action[k] * action[k]
    speed = (read_number(qpos, 0) - before) / numbers[DT]
    return numbers[FORWARD] * speed + alive - np.float32(numbers[COST]) * squares, terminated


@kernel(inner=True, allocates=True)
def stays_upright(obs):
    """Whether InvertedPendulum's numbers are finite and its pole within 0.2 rad."""
    finite = True
    for k in range(len(obs)):
        finite = finite and np.isfinite(obs[k])
    return finite and not abs(obs[1]) > 0.2


@kernel(inner=True, allocates=True)
def is_healthy(kind, qpos, qvel, counts, numbers):
    """Walker2d's height and angle, and for Hopper every other number, within their ranges."""
    z, angle = read_number(qpos, 1), read_number(qpos, 2)
    healthy = numbers[LOW_Z] < z and z < numbers[HIGH_Z]
    healthy = healthy and numbers[LOW_ANGLE] < angle and angle < numbers[HIGH_ANGLE]
    if kind == HOPPER:
        for k in range(2, counts[POSITIONS]):
            x = read_number(qpos, k)
            healthy = healthy and numbers[LOW] < x and x < numbers[HIGH]
        for k in range(counts[VELOCITIES]):
            x = read_number(qvel, k)
            healthy = healthy and numbers[LOW] < x and x < numbers[HIGH]
    return healthy
