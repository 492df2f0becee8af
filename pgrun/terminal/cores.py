"""The cores that a run may use at the same time, and calls that are made on several of them.

Kernels and MuJoCo let go of Python's lock. What is computed hangs on neither the number of cores nor the
order of the calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@dataclass
class CoreLimit:
    """This process's part of the machine."""

    processes: int = 1  # that run side by side, this one among them
    most: int | None = None  # what the setting ``cores`` allows; None: no limit


CORE_LIMIT = CoreLimit()


def count_cores() -> int:
    """How many cores there are for this process: on Linux what taskset or a batch system left it."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def count_usable_cores() -> int:
    """How many of them a run may use at the same time."""
    cores = max(1, count_cores() // CORE_LIMIT.processes)
    return min(cores, CORE_LIMIT.most or cores)


def run_side_by_side(*calls: Callable[[], T]) -> list[T]:
    """What each returns; none writes what another reads. The first is made on this thread, which waits for
    all, also where one raises.
    """
    first, *others = calls
    begun = [start_threads().submit(call) for call in others]
    try:
        mine = first()
    finally:
        theirs = [call.result() for call in begun]
    return [mine, *theirs]


@cache
def start_threads() -> ThreadPoolExecutor:
    """A thread for every core but this one's."""
    return ThreadPoolExecutor(max(1, count_cores() - 1), "core")


os.register_at_fork(after_in_child=start_threads.cache_clear)  # a fork has no threads but its own
