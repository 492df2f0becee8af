"""Threads that take turns and meet: each does its own part alone, and what all of them need is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Lockstep:
    """``members`` threads, of which one runs at a time, until it waits at a meeting or is through.

    All come to the same meetings in the same order, but for those that have left.
    """

    def __init__(self, members: int):
        self.turn = threading.Condition()
        self.present, self.waiting, self.meetings = members, 0, 0
        self.work: Callable[[], None] | None = None  # of the meeting that they wait for
        self.fault: BaseException | None = None

    @contextmanager
    def taking_turns(self) -> Iterator[None]:
        """Around all that a member does."""
        with self.turn:
            try:
                yield
            finally:
                self.present -= 1
                self.work_if_all_wait()

    def meet(self, work: Callable[[], None]) -> None:
        """Wait for the others; the last to come does ``work``, which is the same for all.

        Raises in every member what it raises.
        """
        number, self.work = self.meetings, work
        self.waiting += 1
        self.work_if_all_wait()
        while self.meetings == number:
            self.turn.wait()
        if self.fault is not None:
            raise self.fault

    def work_if_all_wait(self) -> None:
        if self.work is None or self.waiting < self.present:
            return
        work, self.work = self.work, None
        try:
            work()
        except BaseException as error:
            self.fault = error
        self.waiting = 0
        self.meetings += 1
        self.turn.notify_all()
