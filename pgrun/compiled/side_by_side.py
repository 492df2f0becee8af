"""Two calls of kernels at the same time, where this process has a second core.

Kernels let go of Python's lock. What is computed hangs on neither the number of cores nor the order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")
ROWS_WORTH_IT = 1024  # passed over by either call: the hand-over costs as much as some hundred


def count_cores() -> int:
    """How many cores this process may use: on Linux what taskset or a batch system left it."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def is_worth_it(rows: int) -> bool:
    """Whether two calls that pass over so many rows each are faster at the same time."""
    return rows >= ROWS_WORTH_IT and count_cores() > 1


def run_side_by_side(first: Callable[[], T], second: Callable[[], T]) -> tuple[T, T]:
    """What both return, which share nothing that either of them writes."""
    other = start_helper().submit(second)
    try:
        mine = first()
    finally:
        theirs = other.result()
    return mine, theirs


@cache
def start_helper() -> ThreadPoolExecutor:
    """The thread of the second calls."""
    return ThreadPoolExecutor(1, "second core")


os.register_at_fork(after_in_child=start_helper.cache_clear)  # a fork has no threads but its own
