"""MuJoCo's tasks played by kernels, each column from the end of an episode to the next, on several cores.

What is recorded is what ``Recorder.step`` records row by row, to the bit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pgrun.envs.faults import ColumnFault
from pgrun.envs.simulated import Simulated
from pgrun.envs.simulator_memory import SimulatorMemory, read_memory
from pgrun.policies.compiled_actor import CompiledActor
from pgrun.rollouts.trajectory import Recorder
from pgrun.terminal.cores import count_usable_cores, run_side_by_side

if TYPE_CHECKING:
    from torch import Tensor

NO_NOISE = np.zeros((1, 1, 1), np.float32)
EVER = 2**62


def advance_simulated(
    track: Recorder, actor: Any, envs: Simulated, noise: Tensor | None, most: int, left: np.ndarray | None
) -> int:
    """``advance_recorder`` of MuJoCo's tasks: 0 where the kernel does not know the task or the actor."""
    memory = memory_of(envs) if isinstance(actor, CompiledActor) else None
    if memory is None:
        return 0
    return play_simulated(track, actor, envs, memory, noise, most, left)


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
    left: np.ndarray | None = None,
) -> int:
    """Resets in Python, everything else in the kernel; the rows are added to ``track``.

    Each column plays on through its own ends, so that none waits for another: to the row ``most``, or till it
    has had the episodes that are ``left`` to it [N]. Raises ``EnvironmentFault``.
    """
    from pgrun.kernels.simulators import play_simulators

    n, size = envs.num_envs, envs.obs_size
    left = np.full(n, EVER) if left is None else left.copy()
    ended, active, reached = envs.ended.copy(), envs.active.copy(), np.zeros(n, np.int64)
    now, fresh = envs.obs.astype(np.float64), np.empty((n, size))
    records = (
        np.empty((most + 1, n, size)),
        np.empty((most, n, actor.actions), np.float32),
        np.empty((most, n)),
        *np.empty((2, most, n), bool),
    )

    def play(going: np.ndarray, last: int) -> None:
        elapsed = np.array([clock._elapsed_steps for clock in envs.clocks], np.int64)
        before = elapsed.copy()
        given = (
            *(going, reached, last, *actor.arguments),
            *(memory.counts, memory.numbers, memory.box, memory.functions, memory.places),
            *(envs.obs.dtype == np.float32, elapsed, memory.limits, ended, active, fresh, now),
            *(noise is not None, NO_NOISE if noise is None else noise.numpy(), records),
        )
        run_side_by_side(*(partial(play_simulators, part, *given) for part in split_columns(going)))
        for i, steps in enumerate((elapsed - before).tolist()):
            envs.noted[i].steps += steps
            envs.clocks[i]._elapsed_steps += steps

    def add_rows(rows: int) -> None:
        obs, *others = records
        track.extend(obs[1 : rows + 1], *(x[:rows] for x in others))

    while (going := active & (reached < most)).any():
        for column in np.flatnonzero(ended & going).tolist():
            try:
                envs.reset_column(column)
            except ColumnFault as fault:
                add_rows(int(reached[column]))
                raise track.tell_episode(envs, fault) from fault.__cause__
            fresh[column] = envs.obs[column]
        play(going, most)
        left -= going & ended
        active &= left > 0
    rows = int(reached.max())
    play(reached < rows, rows)  # columns that have had their share stand still
    add_rows(rows)
    envs.obs[:] = now
    envs.ended = (records[3] | records[4])[rows - 1]
    return rows


def split_columns(going: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of columns, one for each core, with about as many in each that are ``going`` [N]."""
    columns = np.flatnonzero(going)
    parts = np.array_split(columns, max(1, min(count_usable_cores(), len(columns))))
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)] or [(0, 0)]
