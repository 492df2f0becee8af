"""What the kernel of MuJoCo's tasks is handed: where simulators lie in memory, and the task's numbers."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pgrun.envs.simulated import Hopper, Pendulum, Runner, Simulated, Simulation, Swimmer, Walker
from pgrun.envs.spaces import box_constants
from pgrun.kernels import is_available

NAMES = ("mj_step", "mj_rnePostConstraint")


@dataclass(frozen=True)
class SimulatorMemory:
    """In the order of ``play_simulators``'s own, see there. Good as long as the environments live."""

    counts: np.ndarray  # [6]
    numbers: np.ndarray  # [10]
    box: np.ndarray  # [A, 4]
    functions: np.ndarray  # [2] addresses
    places: np.ndarray  # [5, N] addresses
    limits: np.ndarray  # [N] steps of an episode


def read_memory(envs: Simulated) -> SimulatorMemory | None:
    """None where the kernels do not know the task, or this MuJoCo does not say where its memory is."""
    first = envs.simulations[0]
    if not is_available() or type(first) not in (Runner, Swimmer, Walker, Hopper, Pendulum):
        return None
    functions = find_functions()
    if functions is None or not hasattr(first.model, "_address") or not hasattr(first.data, "_address"):
        return None
    places = np.array([find_places(simulation) for simulation in envs.simulations], np.int64)
    limits = np.array([clock._max_episode_steps for clock in envs.clocks], np.int64)
    box, places = box_constants(envs.action_space), np.ascontiguousarray(places.T)
    return SimulatorMemory(*describe_task(first), box, functions, places, limits)


def find_functions() -> np.ndarray | None:
    """The addresses of MuJoCo's own functions, in the library that its bindings have loaded."""
    import mujoco

    folder = Path(mujoco.__file__).parent
    for path in (*sorted(folder.glob("libmujoco*")), *folder.glob("mujoco.dll")):
        library = ctypes.CDLL(str(path))
        functions = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in NAMES]
        return np.array(functions, np.int64)
    return None


def find_places(simulation: Simulation) -> tuple[int, ...]:
    """Addresses of the model, the data, positions, velocities and controls."""
    arrays = simulation.qpos, simulation.qvel, simulation.ctrl
    model: Any = simulation.model
    data: Any = simulation.data
    return model._address, data._address, *(array.ctypes.data for array in arrays)


def describe_task(one: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """(``counts``, ``numbers``) of a task."""
    from pgrun.kernels.simulators import HOPPER, PENDULUM, RUNNER, WALKER

    kinds = {Runner: RUNNER, Swimmer: RUNNER, Walker: WALKER, Hopper: HOPPER, Pendulum: PENDULUM}
    hidden, ends, numbers = 0, False, [one.dt, *[0.0] * 9]
    if isinstance(one, Runner):
        hidden = int(one.hidden)
        numbers[1:3] = one.forward, one.cost
    if isinstance(one, Walker):
        ends = one.ends
        numbers[3:8] = one.earns, one.low_z, one.high_z, one.low_angle, one.high_angle
    if isinstance(one, Hopper):
        numbers[8:] = one.low, one.high
    sizes = len(one.qpos), len(one.qvel)
    counts = np.array([kinds[type(one)], one.frames, *sizes, hidden, ends], np.int64)
    return counts, np.array(numbers, np.float64)
