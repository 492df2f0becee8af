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
    return SimulatedPlay(actor, envs, memory, most).run(track, noise, left)


def memory_of(envs: Simulated) -> SimulatorMemory | None:
    """Read once for the environments."""
    if not envs.memory_read:
        envs.memory, envs.memory_read = read_memory(envs), True
    memory: SimulatorMemory | None = envs.memory
    return memory


class SimulatedPlay:
    """Rows of all columns, up to ``most``: resets in Python, everything else in the kernel."""

    def __init__(self, actor: CompiledActor, envs: Simulated, memory: SimulatorMemory, most: int):
        n, size = envs.num_envs, envs.obs_size
        self.actor, self.envs, self.memory, self.most = actor, envs, memory, most
        self.ended, self.active = envs.ended.copy(), envs.active.copy()
        self.reached = np.zeros(n, np.int64)  # rows that a column has
        self.now, self.fresh = envs.obs.astype(np.float64), np.empty((n, size))
        self.obs = np.empty((most + 1, n, size))
        self.terminated, self.truncated = np.empty((2, most, n), bool)
        self.steps = np.empty((most, n, actor.actions), np.float32), np.empty((most, n))  # action, reward

    def run(self, track: Recorder, noise: Tensor | None, left: np.ndarray | None) -> int:
        """Play, and add the rows to ``track``; how many they are. Raises ``EnvironmentFault``.

        Each column plays on through its own ends, so that none waits for another: to the row ``most``, or
        till it has had the episodes that are ``left`` to it [N].
        """
        left = np.full(len(self.reached), EVER) if left is None else left.copy()
        while (going := self.active & (self.reached < self.most)).any():
            self.reset_ended(track, going)
            self.play(going, self.most, noise)
            left -= going & self.ended
            self.active &= left > 0
        rows = int(self.reached.max())
        if (still := self.reached < rows).any():  # columns that have had their share
            self.play(still, rows, noise)
        self.add_rows(track, rows)
        self.envs.obs[:] = self.now
        self.envs.ended = (self.terminated | self.truncated)[rows - 1]
        return rows

    def reset_ended(self, track: Recorder, going: np.ndarray) -> None:
        """Begin an episode in each of these columns that has ended one."""
        for column in np.flatnonzero(self.ended & going).tolist():
            try:
                self.envs.reset_column(column)
            except ColumnFault as fault:
                self.add_rows(track, int(self.reached[column]))
                raise track.tell_episode(self.envs, fault) from fault.__cause__
            self.fresh[column] = self.envs.obs[column]

    def play(self, going: np.ndarray, last: int, noise: Tensor | None) -> None:
        """Each column that is ``going`` [N], till its episode ends or it has so many rows."""
        from pgrun.kernels.simulators import play_simulators

        envs, memory = self.envs, self.memory
        elapsed = np.array([clock._elapsed_steps for clock in envs.clocks], np.int64)
        before = elapsed.copy()
        given = (
            *(going, self.reached, last, *self.actor.arguments),
            *(memory.counts, memory.numbers, memory.box, memory.functions, memory.places),
            *(envs.obs.dtype == np.float32, elapsed, memory.limits),
            *(self.ended, self.active, self.fresh, self.now),
            *(noise is not None, NO_NOISE if noise is None else noise.numpy()),
            (self.obs, *self.steps, self.terminated, self.truncated),
        )
        run_side_by_side(*(partial(play_simulators, part, *given) for part in split_columns(going)))
        for i, steps in enumerate((elapsed - before).tolist()):
            envs.noted[i].steps += steps
            envs.clocks[i]._elapsed_steps += steps

    def add_rows(self, track: Recorder, rows: int) -> None:
        """The first rows, which all columns have."""
        steps = *self.steps, self.terminated, self.truncated
        track.extend(self.obs[1 : rows + 1], *(x[:rows] for x in steps))


def split_columns(going: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of columns, one for each core, with about as many in each that are ``going`` [N]."""
    columns = np.flatnonzero(going)
    parts = np.array_split(columns, max(1, min(count_usable_cores(), len(columns))))
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)] or [(0, 0)]
