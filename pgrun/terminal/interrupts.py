"""Ctrl-C while no run notes signals: told in one line, whatever the code that it meets makes of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptNote:
    """Raises ``KeyboardInterrupt``, as Python's own handler does, and remembers it: a callback or a library
    may swallow the exception, or end in another one.
    """

    came = False
    held = False  # while code runs that an exception from outside would abort

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        if not self.held:
            raise KeyboardInterrupt


NOTE = InterruptNote()


@contextmanager
def noting_interrupts() -> Iterator[None]:
    """Ctrl-C is remembered meanwhile; where somebody else has a handler for it, theirs stays."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, NOTE)
    try:
        yield
    finally:
        NOTE.came = False  # what this process does next was not interrupted
        if signal.getsignal(signal.SIGINT) is NOTE:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def holding_interrupts() -> Iterator[None]:
    """Ctrl-C has to wait meanwhile: torch's own start aborts the process where an exception comes between."""
    NOTE.held = True
    try:
        yield
    finally:
        NOTE.held = False
    raise_if_interrupted()


def raise_if_interrupted() -> None:
    """Once more, where the first exception was swallowed."""
    if NOTE.came:
        raise KeyboardInterrupt
