"""Columns spread over processes, for environments whose own step takes long: ``env.vector=async``.

Each process holds a ``Loop`` of its share of the columns, and waits for what the run asks of it. The numbers
are those of one ``Loop`` over all columns, and so is what is saved.
"""

from __future__ import annotations

import logging
import random
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.machinery import PathFinder
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np

from pgrun.config import user_modules
from pgrun.config.import_path import restore_import_path, safe_import_path
from pgrun.envs.faults import ColumnFault, Unrepeatable, close_all
from pgrun.envs.snapshot import can_be_read
from pgrun.envs.vector import CONTINUES, Envs, Loop, Step
from pgrun.errors import InvalidCommand
from pgrun.terminal.cores import count_usable_cores

PROCESSES = get_context("spawn")  # a fork would copy torch's threads in the middle of their work
REIMPORTED = 86  # exit code of a process in which the user's script would have begun a run again
PATIENCE = 5.0  # seconds that a process is given to close its environments


class Parallel(Envs):
    """``Loop`` in as many processes as there are cores for them, a run of columns each."""

    def __init__(self, factory: Callable[[], gym.Env], one: gym.Env, num_envs: int):
        """``factory`` goes to the processes: it can be pickled. ``one``: an environment made by it."""
        self.factory, self.one = factory, one
        self.replays = not can_be_read(one)
        super().__init__(num_envs, one.observation_space, one.action_space)
        self.limit = getattr(one.spec, "max_episode_steps", None) or np.inf
        count = min(num_envs, count_usable_cores())
        edges = [num_envs * k // count for k in range(count + 1)]
        self.shares = [slice(start, stop) for start, stop in pairwise(edges)]
        self.workers: list[Worker] = []  # from the first question on

    def ask(self, name: str, parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Have every process do ``name`` with its part, at the same time; what they answer.

        Raises the fault of the first column that has one, when all have answered.
        """
        if not self.workers:
            self.workers = [Worker(self.factory, share, self.num_envs, self.name) for share in self.shares]
        for worker, part in zip(self.workers, parts, strict=True):
            worker.send(name, part)
        answers = [worker.receive() for worker in self.workers]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def keep_float64(self) -> None:
        super().keep_float64()
        self.ask("keep_float64", [() for _ in self.shares])

    def _reset(self, seeds: Sequence[int] | None) -> None:
        parts = [(None if seeds is None else list(seeds[share]),) for share in self.shares]
        for share, obs in zip(self.shares, self.ask("reset", parts), strict=True):
            self.obs[share] = obs

    def _step(self, action: np.ndarray) -> Step:
        parts = [(action[share], self.active[share], self.ended[share]) for share in self.shares]
        answers = self.ask("step", parts)
        for share, (obs, _) in zip(self.shares, answers, strict=True):
            self.obs[share] = obs
        reward, terminated, truncated = (
            np.concatenate(x) for x in zip(*(b for _, b in answers), strict=True)
        )
        return reward, terminated, truncated

    def state_dict(self) -> dict[str, Any]:
        columns = self.ask("state_dict", [() for _ in self.shares])
        return {**super().state_dict(), "columns": [column for share in columns for column in share]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ``Unrepeatable`` where an episode that is played again is another one."""
        super().load_state_dict(state)
        names = (*CONTINUES, "columns")
        self.ask("load_state_dict", [({name: state[name][s] for name in names},) for s in self.shares])

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        close_all([self.one], self.name)


class Worker:
    """A process with some of the columns, seen from the run."""

    def __init__(self, factory: Callable[[], gym.Env], share: slice, in_all: int, name: str):
        self.share = share
        self.pipe, theirs = PROCESSES.Pipe()
        modules = list_importable_modules()
        with safe_import_path(), user_modules.hiding_user_folders() as folders:
            given = theirs, folders, modules, factory, share, in_all, name
            self.process = PROCESSES.Process(target=serve_columns, args=given, daemon=True)
            self.process.start()
        theirs.close()

    def send(self, name: str, part: tuple[Any, ...]) -> None:
        with suppress(OSError):  # it has died, which ``receive`` tells
            self.pipe.send((name, part))

    def receive(self) -> Any:
        """What it answers; an exception where it failed, or is no more."""
        try:
            kind, answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            if self.process.exitcode == REIMPORTED:
                return InvalidCommand(
                    "env.vector",
                    "async",
                    "starts processes, each of which runs your script again from its first line",
                    'put what it does behind if __name__ == "__main__":',
                )
            return ColumnFault(self.share.start, 0, f"its process ended with {self.describe_end()}")
        match kind:
            case "fault":
                return ColumnFault(*answer)
            case "unrepeatable":
                return Unrepeatable(answer)
            case "error":
                return RuntimeError(f"in a process of env.vector=async: {answer}")
        return answer

    def describe_end(self) -> str:
        """How the process ended: with a signal's name, or its exit code."""
        code = self.process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End it: with a word, or where that is not heard by force."""
        self.send("close", ())
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def list_importable_modules() -> list[str]:
    """The user's modules that a new process finds too: others are of a folder that is gone."""
    return [name for name in user_modules.IMPORTED if PathFinder.find_spec(name.partition(".")[0])]


def serve_columns(
    pipe: Connection,
    folders: Sequence[str],
    modules: Sequence[str],
    factory: Callable[[], gym.Env],
    share: slice,
    in_all: int,
    run_name: str,
) -> None:
    """What such a process does until the run says ``close``, or is gone."""
    restore_import_path()
    for folder in folders:
        user_modules.add_user_folder(folder)
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_IGN)  # the run hears them, and decides
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    loop: ColumnsOfProcess | None = None
    while True:
        try:
            name, part = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if loop is None:
                for module in modules:
                    user_modules.import_user_module(module)
                loop = ColumnsOfProcess(factory, share, in_all)
                loop.name = run_name
            answer = "answer", getattr(loop, f"answer_{name}")(*part)
        except ColumnFault as fault:
            answer = "fault", (fault.column + share.start, fault.step, fault.reason)
        except Unrepeatable as error:
            answer = "unrepeatable", str(error)
        except Exception as error:
            answer = "error", f"{type(error).__name__}: {error}"
        pipe.send(answer)
        if name == "close":
            return


class ColumnsOfProcess(Loop):
    """Some columns of a run, with an answer for each thing that ``Parallel`` asks."""

    def __init__(self, factory: Callable[[], gym.Env], share: slice, in_all: int):
        self.first, self.in_all = share.start, in_all
        super().__init__(factory, share.stop - share.start)

    def answer_keep_float64(self) -> None:
        self.keep_float64()

    def answer_reset(self, seeds: Sequence[int] | None) -> np.ndarray:
        if seeds is not None:  # for environments that draw from what everything in a process shares
            random.seed(seeds[0])
            np.random.seed(seeds[0])
        self._reset(seeds)
        return self.obs

    def answer_step(
        self, action: np.ndarray, active: np.ndarray, ended: np.ndarray
    ) -> tuple[np.ndarray, Step]:
        self.active, self.ended = active, ended
        return self.obs, self._step(action)

    def answer_state_dict(self) -> Any:
        return [noted.state_dict(env) for noted, env in zip(self.noted, self.envs, strict=True)]

    def answer_load_state_dict(self, state: dict[str, Any]) -> None:
        self.load_state_dict(state)

    def answer_close(self) -> None:
        self.close()
