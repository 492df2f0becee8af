"""Processes that begin with everything imported: a run to be killed costs what it computes, and not three
seconds of imports.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, util
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import IO

from gymnasium import registry

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


def forked(work: Callable[[], int | None], kill_after: float | None = None, limit: float = LIMIT) -> End:
    """``work`` in a child of this process, to its end or until ``kill_after`` seconds have passed; beyond
    ``limit`` it hangs.
    """
    reader, writer = os.pipe()
    begun = time.monotonic()
    sys.stdout.flush()  # what is buffered would be said by the child, too
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        run_and_leave(work, writer, writer)
    os.close(writer)
    due = (begun + limit, signal.SIGABRT) if kill_after is None else (begun + kill_after, signal.SIGKILL)
    said = heard(reader, child, *due)
    _, status, used = os.wait4(child, 0)
    cpu = used.ru_utime + used.ru_stime
    return End(os.waitstatus_to_exitcode(status), said, time.monotonic() - begun, cpu, used.ru_maxrss * 1024)


def in_campaign(script: ModuleType, *words: str) -> str:
    """What a campaign says of these words: it runs to its end, and well, in a fork of this process."""
    end = forked(lambda: script.main(words), limit=3600.0)
    assert end.code == 0, end.out
    return end.out


class ForkedCommand:
    """A console script's function under way in a fork of this process and a session of its own; what it was
    when it ended.

    As a new process it has its own import path and its own server of children, which is forked from it.
    """

    def __init__(
        self,
        main: Callable[[], object],
        words: Sequence[str],
        program: str = "pgrun",
        out: IO[str] | None = None,
    ):
        self.streams = [out or tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")]  # noqa: SIM115
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            forget_server()
            util.spawnv_passfds = partial(fork_server, util.spawnv_passfds)
            sys.path.insert(0, "")
            sys.argv = [program, *words]
            run_and_leave(lambda: main() and None, *(stream.fileno() for stream in self.streams))

    def poll(self, options: int = os.WNOHANG) -> int | None:
        """The exit code, or minus the signal, if it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = LIMIT) -> int:
        """The exit code, once it has ended. Raises ``TimeoutError``, with the process killed."""
        due = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > due:
                os.killpg(self.pid, signal.SIGKILL)
                self.poll(0)
                raise TimeoutError(f"still running after {timeout:g} s: {self.said()}")
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def said(self) -> tuple[str, str]:
        """What it wrote to its two streams so far."""
        return read_all(self.streams[0]), read_all(self.streams[1])


def read_all(file: IO[str]) -> str:
    """All of a file, which its writer goes on with where it stands; nothing of a pipe."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode() if size else ""


def forget_server() -> None:
    """Children of this process come from a server of its own; what that is to import stays."""
    server = forkserver._forkserver
    server._forkserver_pid = server._forkserver_fd = server._forkserver_alive_fd = None


def fork_server(spawn: Callable[..., int], path: str, words: Sequence[str], passed: Sequence[int]) -> int:
    """``util.spawnv_passfds``, but that a server of children is forked: all that it imports is there already,
    which takes a new process four seconds.
    """
    if "multiprocessing.forkserver" not in words[-1]:
        return spawn(path, words, passed)
    sys.stdout.flush()
    sys.stderr.flush()
    pids: list[int] = []
    # in a thread: its stack is as short as that of a new process
    thread = Thread(target=lambda: pids.append(fork_and_serve(words, passed)))
    thread.start()
    thread.join()
    return pids[0]


def fork_and_serve(words: Sequence[str], passed: Sequence[int]) -> int:
    """The server's number; in the child this does not return."""
    pid = os.fork()
    if pid == 0:
        nothing = os.open(os.devnull, os.O_RDWR)  # in place of each: an object may still close its number
        for number in {int(name) for name in os.listdir("/dev/fd")} - {0, 1, 2, *passed}:
            os.dup2(nothing, number)
        forget_user_modules()
        run_and_leave(partial(exec, words[-1], {}), 1, 2)
    return pid


def forget_user_modules() -> None:
    """Those of tests' folders, with their environments; what a server does as it begins is done again.

    What is installed is kept, and ours, which may lie there too: a checkout, or a campaign's copy of it.
    """
    folders = (tempfile.gettempdir(), folder_in_memory() or tempfile.gettempdir())
    kept = (sys.prefix, str(Path(__file__).parents[2]))
    files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    users = {name for name, file in files.items() if file.startswith(folders) and not file.startswith(kept)}
    users = {name for name in users if name.partition(".")[0] not in ("pgrun", "tests", "hydra_plugins")}
    for name in {"pgrun.runs.preload", *users}:
        sys.modules.pop(name, None)
    for env_id, spec in list(registry.items()):
        if getattr(spec.entry_point, "__module__", None) in users:
            del registry[env_id]


def run_and_leave(work: Callable[[], int | None], out: int, err: int) -> None:
    """In the child, which writes to the two files: it never returns to the code of its parent."""
    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        code = work() or 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
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
