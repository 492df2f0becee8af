"""Processes that begin with everything imported: a run to be killed costs what it computes, and not three
seconds of imports.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ENOUGH = 1e9  # bytes; the suite needs a tenth of it
LIMIT = 300.0  # seconds, after which a child hangs: none of these runs takes two where nothing else runs


@dataclass(frozen=True)
class End:
    """Of a process: its exit code, or minus the signal that ended it; what it said."""

    code: int
    out: str
    seconds: float
    cpu: float  # seconds that it computed
    peak: float  # bytes of memory, those of its parent included

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def forked(work: Callable[[], int | None], kill_after: float | None = None) -> End:
    """``work`` in a child of this process, to its end or until ``kill_after`` seconds have passed."""
    reader, writer = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        run_and_leave(work, writer)
    os.close(writer)
    due = (begun + LIMIT, signal.SIGABRT) if kill_after is None else (begun + kill_after, signal.SIGKILL)
    said = heard(reader, child, *due)
    _, status, used = os.wait4(child, 0)
    cpu = used.ru_utime + used.ru_stime
    return End(os.waitstatus_to_exitcode(status), said, time.monotonic() - begun, cpu, used.ru_maxrss * 1024)


def run_and_leave(work: Callable[[], int | None], writer: int) -> None:
    """In the child: it never returns to the code of its parent."""
    code = 70
    try:
        for stream in (1, 2):
            os.dup2(writer, stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = work() or 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for file in (sys.stdout, sys.stderr):
            file.flush()
        os._exit(code)


def heard(reader: int, child: int, deadline: float, number: int) -> str:
    """All that the child says; it is sent the signal if it is not done by then."""
    os.set_blocking(reader, False)
    actual = b""
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while True:
            piece = pipe.read(65536)
            if piece == b"":
                return actual.decode(errors="replace")
            actual += piece or b""
            if time.monotonic() > deadline:
                os.kill(child, number)
                deadline += LIMIT
            select.select([reader], [], [], max(min(deadline - time.monotonic(), 1.0), 0.0))


def folder_in_memory() -> str | None:
    """Where many small runs do not wait for a disk."""
    place = Path("/dev/shm")
    usable = place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > ENOUGH
    return str(place) if usable else None
