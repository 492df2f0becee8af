"""Signals that end a run: noticed between two updates, so that it is saved first. A second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CODES = {  # exit codes
    signal.SIGINT: 130,
    signal.SIGTERM: 143,
    signal.SIGUSR1: 75,  # EX_TEMPFAIL: to be queued again, as batch systems ask before they pre-empt
}


class Stopped(KeyboardInterrupt):
    """A run ended by a signal, after it was saved."""

    def __init__(self, number: int):
        super().__init__()
        self.code, self.name = CODES[signal.Signals(number)], signal.Signals(number).name


class Stop:
    """Whether a signal has come."""

    number: int | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(CODES[signal.Signals(number)])
        self.number = number


@contextmanager
def heeded() -> Iterator[Stop]:
    """The signals of ``CODES`` are noted meanwhile; handlers exist in the main thread alone."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in CODES}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
