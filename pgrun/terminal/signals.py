"""Signals that end a run: noticed between two updates, so that it is saved first.

A second one ends it at once.

A sweep's own process says it to all its jobs, in whatever processes they are, by a file in the sweep's
directory.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from pgrun import atomic_files
from pgrun.terminal.exit_codes import ExitCode

CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGUSR1: ExitCode.REQUEUE,  # as batch systems ask before they pre-empt
}
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it: a run outlives its terminal
    CODES[signal.SIGHUP] = ExitCode.HANGUP
STOP = ".stop"  # in a sweep's directory: the number of the signal that its jobs are to get


class Stopped(KeyboardInterrupt):
    """A run ended by a signal, after it was saved at ``env_steps``. ``hint``: where, and how to go on."""

    hint = ""

    def __init__(self, number: int, env_steps: int | None = None):
        super().__init__()
        self.env_steps = env_steps
        self.code, self.name = CODES[signal.Signals(number)], signal.Signals(number).name


class SignalFlag:
    """Whether a signal has come."""

    number: int | None = None
    told = "stopping: the run is saved after this update; once more ends it at once"

    def acknowledge(self, number: int) -> None:
        """At once, where nobody might know for a while: an update may take long.

        Written past Python's buffers, which a handler may find locked; a sweep's child leaves it to the
        sweep.
        """
        if multiprocessing.parent_process() is None:
            with suppress(OSError, ValueError):  # closed, or no file
                name = signal.Signals(number).name
                os.write(sys.stderr.fileno(), f"\npgrun: {name}: {self.told}\n".encode())

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            self.acknowledge(number)
        elif multiprocessing.parent_process() is None:  # a sweep's child hears a signal again and again
            os._exit(CODES[signal.Signals(number)])


class SweepStop(SignalFlag):
    """Notes the signal that stops a sweep: its jobs are told to stop, and by a second signal killed."""

    told = "stopping: jobs under way are saved, the rest is not run; once more ends all of them at once"

    def __init__(self, sweep: Path):
        self.sweep = sweep

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        again = self.number is not None
        self.number = self.number or number
        self.sweep.mkdir(parents=True, exist_ok=True)
        atomic_files.write_bytes(self.sweep / STOP, str(int(signal.SIGKILL if again else number)).encode())
        if not again:
            self.acknowledge(number)
        else:
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(CODES[signal.Signals(number)])


def read_stop_signal(sweep: Path) -> int | None:
    """The signal that the jobs of a sweep are to get."""
    try:
        number = int(atomic_files.read_bytes(sweep / STOP))
    except (OSError, ValueError):  # none, or not all of it written yet
        return None
    return number if number in (*CODES, signal.SIGKILL) else None


@contextmanager
def noting_signals(stop: SignalFlag | None = None) -> Iterator[SignalFlag]:
    """The signals of ``CODES`` are noted meanwhile, and also while what was stopped is recorded; the main
    thread alone has handlers.
    """
    stop = stop or SignalFlag()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in CODES}
    try:
        yield stop
    finally:
        if stop.number is None:
            for number, handler in before.items():
                signal.signal(number, handler)
