"""MuJoCo's tasks played by one kernel call from the end of an episode to the next.

What is recorded is what ``Recorder.step`` records row by row, to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pgrun.envs.faults import ColumnFault
from pgrun.envs.simulated import Simulated
from pgrun.envs.simulator_memory import SimulatorMemory, read_memory
from pgrun.policies.compiled_actor import CompiledActor
from pgrun.rollouts.trajectory import Recorder

if TYPE_CHECKING:
    from torch import Tensor

NO_NOISE = np.zeros((1, 1, 1), np.float32)


def advance_simulated(track: Recorder, actor: Any, envs: Simulated, noise: Tensor | None, most: int) -> int:
    """``advance_recorder`` of MuJoCo's tasks: 0 where the kernel does not know the task or the actor."""
    memory = memory_of(envs) if isinstance(actor, CompiledActor) else None
    if memory is None:
        return 0
    try:
        return play_simulated(track, actor, envs, memory, noise, most)
    except ColumnFault as fault:
        raise track.tell_episode(envs, fault) from fault.__cause__


def memory_of(envs: Simulated) -> SimulatorMemory | None:
    """Read once for the environments."""
    if not envs.memory_read:
        envs.memory, envs.memory_read = read_memory(envs), True
    memory: SimulatorMemory | None = envs.memory
    return memory


def play_simulated(
    track: Recorder,
    actor: CompiledActor,
    envs: Simulated,
    memory: SimulatorMemory,
    noise: Tensor | None,
    most: int,
) -> int:
    """Resets in Python, everything else in the kernel; the rows are added to ``track``."""
    from pgrun.kernels.simulators import play_simulators

    n, size = envs.num_envs, envs.obs_size
    ended, now = envs.ended, envs.obs.astype(np.float64)
    for column in np.flatnonzero(ended & envs.active).tolist():
        envs.reset_column(column)
    elapsed = np.array([clock._elapsed_steps for clock in envs.clocks], np.int64)
    before = elapsed.copy()
    records = (
        np.empty((most + 1, n, size)),
        np.empty((most, n, actor.actions), np.float32),
        np.empty((most, n)),
        *np.empty((2, most, n), bool),
    )
    rows: int = play_simulators(
        *actor.arguments,
        *(memory.counts, memory.numbers, memory.box, memory.functions, memory.places),
        *(envs.obs.dtype == np.float32, elapsed, memory.limits, ended, envs.active),
        *(envs.obs.astype(np.float64), now, noise is not None),
        *(NO_NOISE if noise is None else noise.numpy(), records),
    )
    for i, steps in enumerate((elapsed - before).tolist()):
        envs.noted[i].steps += steps
        envs.clocks[i]._elapsed_steps += steps
    obs, *others = records
    track.extend(obs[1 : rows + 1], *(x[:rows] for x in others))
    envs.obs[:] = now
    envs.ended = (records[3] | records[4])[rows - 1]
    return rows
