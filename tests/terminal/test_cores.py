"""How many cores a run uses, and calls on several of them."""

from __future__ import annotations

import os
import threading

import pytest

from pgrun.terminal import cores
from pgrun.terminal.cores import CoreLimit, count_usable_cores, run_side_by_side


@pytest.mark.parametrize(
    ("limit", "usable"),
    [
        (CoreLimit(), 8),
        (CoreLimit(most=3), 3),
        (CoreLimit(most=64), 8),
        (CoreLimit(processes=4), 2),
        (CoreLimit(processes=4, most=1), 1),
        (CoreLimit(processes=100), 1),
    ],
)
def test_cores_are_shared_and_limited(limit: CoreLimit, usable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "count_cores", lambda: 8)
    monkeypatch.setattr(cores, "CORE_LIMIT", limit)
    assert count_usable_cores() == usable


def test_what_taskset_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert cores.count_cores() == 3


def test_results_come_in_the_order_of_the_calls() -> None:
    """The second ends before the first: they are at work at the same time."""
    done = threading.Event()

    def wait() -> str:
        assert done.wait(20)
        return "first"

    def tell() -> str:
        done.set()
        return "second"

    assert run_side_by_side(wait, tell) == ["first", "second"]
    assert run_side_by_side(lambda: 1) == [1]


def test_a_fault_in_one_waits_for_the_others() -> None:
    ended = threading.Event()

    def fail() -> None:
        raise ValueError("of the first")

    with pytest.raises(ValueError, match="of the first"):
        run_side_by_side(fail, ended.set)
    assert ended.is_set()


def test_a_fork_has_threads_of_its_own() -> None:
    run_side_by_side(int, int)
    child = os.fork()
    if child == 0:
        os._exit(0 if run_side_by_side(lambda: 3, lambda: 4) == [3, 4] else 1)
    assert os.waitpid(child, 0)[1] == 0
