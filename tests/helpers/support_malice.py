"""A process that is watched for what no command may do with a run directory: run code, or write outside."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pgrun.kernels

NEVER = {  # events of the interpreter
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
    "socket.bind",
    "webbrowser.open",
}
CHANGES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "os.truncate",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NOT_FOLLOWED = os.O_NOFOLLOW | os.O_EXCL


class Watch:
    """From ``begin`` on, in this process and for good: ``note`` gets what was done,
    once the command has ended.
    """

    def __init__(self, allowed: Path, planted: Path, strange: tuple[str, ...]):
        machine_code = Path(pgrun.kernels.__file__).parent / "__pycache__"  # numba keeps it there
        self.allowed = (str(allowed.resolve()), str(machine_code), "/dev/null")
        self.planted, self.strange = str(planted.resolve()), strange
        self.seen: list[str] = []

    def begin(self) -> None:
        sys.addaudithook(self.hook)

    def hook(self, event: str, given: tuple[Any, ...]) -> None:
        if event in NEVER:
            self.seen.append(f"{event} {given}")
        elif event == "import" and given[0].split(".")[0] in self.strange:
            self.seen.append(f"import {given[0]}")
        elif event == "exec" and self.is_planted(getattr(given[0], "co_filename", "")):
            self.seen.append(f"exec {given[0].co_filename}")
        elif event == "open" and isinstance(given[0], str | bytes) and given[2] & WRITING:
            self.wrote(event, given[0], follows=not given[2] & NOT_FOLLOWED)
        elif event in CHANGES:
            for path in given[: 2 if event in ("os.rename", "os.link") else 1]:
                if isinstance(path, str | bytes | os.PathLike):
                    self.wrote(event, path, follows=event in ("os.chmod", "os.truncate"))

    def is_planted(self, path: str) -> bool:
        """Or is one of the modules: ``import_module`` raises no event of its own."""
        return path.startswith(self.planted) or Path(path).stem in self.strange

    def wrote(self, event: str, path: Any, follows: bool) -> None:
        name = os.fsdecode(path)
        parent, last = os.path.split(os.path.abspath(name))
        place = os.path.realpath(name) if follows else os.path.join(os.path.realpath(parent), last)
        if not any(place == one or place.startswith(one + os.sep) for one in self.allowed):
            self.seen.append(f"{event} {name} → {place}")


def watched(work: Callable[[], int], watch: Watch, note: Path) -> int:
    """``work``, in a child process; what the watch saw is in ``note`` afterwards."""
    handle = os.open(note, os.O_WRONLY | os.O_CREAT)  # before the watch begins
    watch.begin()
    code = 70
    try:
        code = work()
    finally:
        os.write(handle, "\n".join(watch.seen).encode())
    return code
