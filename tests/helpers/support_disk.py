"""A disk that fails, or a process that dies, at the n-th call that changes a file: what Python code does to
files goes by here.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

NAMED = (
    "replace",
    "rename",
    "mkdir",
    "unlink",
    "truncate",
    "symlink",
    "link",
    "rmdir",
)  # of os, with a path first
Strike = Callable[["Disk", str, Path, bytes], int | None]


@dataclass
class Disk:
    """Every change below ``folder``, as (call, path).

    ``strike`` comes before each, and may end it, or the process.

    Where it returns a number, so many bytes are written and then the write fails.
    """

    folder: Path
    strike: Strike
    calls: list[tuple[str, Path]] = field(default_factory=list)

    def sees(self, call: str, path: Any, content: bytes = b"") -> None:
        place = Path(os.path.abspath(os.fsdecode(path)))
        if place.is_relative_to(self.folder):
            self.calls.append((call, place))
            self.strike(self, call, place, content)

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        real = {name: getattr(os, name) for name in NAMED}
        fsync = os.fsync

        def named(name: str) -> Callable[..., Any]:
            def call(path: Any, *rest: Any, **given: Any) -> Any:
                if not isinstance(path, int) and given.get("dir_fd") is None:
                    self.sees(name, path)
                return real[name](path, *rest, **given)

            return call

        def flush(handle: Any) -> None:
            number = handle if isinstance(handle, int) else handle.fileno()
            self.sees("fsync", os.readlink(f"/proc/self/fd/{number}"))
            fsync(handle)

        opened = opening(self)
        calls = patch.multiple(os, fsync=flush, **{name: named(name) for name in NAMED})
        with calls, patch.object(builtins, "open", opened), patch.object(io, "open", opened):
            yield self


def opening(disk: Disk) -> Callable[..., Any]:
    """``open`` whose files report what they write, in the pieces in which it reaches the system."""
    real = builtins.open

    class Raw(io.FileIO):
        def write(self, content: Any) -> int:
            disk.sees("write", self.name, bytes(content))
            return super().write(content)

    def opened(
        file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        disk.sees("open", file)
        raw = Raw(os.fspath(file), mode.replace("b", "").replace("t", ""), closefd, opener)
        binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, encoding, errors, newline)

    return opened


def never(_disk: Disk, _call: str, _path: Path, _content: bytes) -> None:
    """Only counts."""


def kill_at(number: int, share: float) -> Strike:
    """SIGKILL at the call of that number, from 1, with a share of its bytes on the disk."""

    def strike(disk: Disk, call: str, path: Path, content: bytes) -> None:
        if len(disk.calls) == number:
            leave(call, path, content, share)
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def fail_at(number: int, code: int, share: float = 0.5, once: bool = False) -> Strike:
    """``OSError`` at that call and, unless ``once``, at every later one that such a disk would refuse."""

    def strike(disk: Disk, call: str, path: Path, content: bytes) -> None:
        count = len(disk.calls)
        if count == number or (count > number and not once and refused(code, call)):
            leave(call, path, content, share)
            raise OSError(code, os.strerror(code))

    return strike


def refused(code: int, call: str) -> bool:
    """A full disk, or a quota that is used up, still forgets and renames."""
    return code not in (errno.ENOSPC, errno.EDQUOT) or call in ("open", "write", "mkdir")


def move_away_at(number: int, place: Path) -> Strike:
    """The folder is somewhere else from that call on."""

    def strike(disk: Disk, call: str, path: Path, content: bytes) -> None:
        if len(disk.calls) == number:
            os.rename(disk.folder, place)

    return strike


def leave(call: str, path: Path, content: bytes, share: float) -> None:
    """A write is cut anywhere."""
    if call == "write":
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(handle, content[: int(share * len(content))])
        os.close(handle)
