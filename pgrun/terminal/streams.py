"""Standard output and error that cannot end a run: what they cannot show is replaced, and dropped what nobody
reads any more.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

GONE = (errno.EPIPE, errno.EIO)  # the reader (pgrun … | head), the terminal
REPLACING = ("replace", "backslashreplace", "namereplace", "xmlcharrefreplace", "ignore")


class Outlet(io.FileIO):
    """Writes to a descriptor until nobody is there to read, and from then on nowhere:
    the environment's own prints, too.
    """

    def __init__(self, descriptor: int):
        super().__init__(descriptor, "wb", closefd=False)

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(memoryview(data).cast("B"))


def through_outlet(stream: Any) -> Any:
    """The stream through an ``Outlet``; what is no plain stream of a process is left alone."""
    if type(stream) is not io.TextIOWrapper or isinstance(getattr(stream.buffer, "raw", None), Outlet):
        return stream
    try:
        stream.flush()
        buffer = io.BufferedWriter(Outlet(stream.fileno()))
    except (OSError, ValueError):  # closed
        return stream
    errors = stream.errors if stream.errors in REPLACING else "replace"
    return io.TextIOWrapper(
        buffer,
        stream.encoding,
        errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def open_nowhere(descriptor: int) -> TextIO:
    """For a stream that the process was begun without (``pgrun … >&-``): what is written is dropped, and no
    file of the run gets the stream's number.
    """
    try:
        os.fstat(descriptor)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
    return open(os.devnull, "w")


def outlast_readers() -> None:
    """From now on, in this process."""
    sys.stdout = through_outlet(sys.stdout) if sys.stdout else open_nowhere(1)
    sys.stderr = through_outlet(sys.stderr) if sys.stderr else open_nowhere(2)


@contextmanager
def outlasting_readers() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    outlast_readers()
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # told before, where it could be
                stream.flush()
        sys.stdout, sys.stderr = before
