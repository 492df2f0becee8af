"""The processes of a sweep, and whose end is theirs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SWEEP = "PGRUN_SWEEP"  # the process that local workers belong to
POLL = 0.5  # seconds between looks at it
TAKES_WORKERS_ALONG = ("joblib", "parallel", "submitit_local", "local")  # launchers; Slurm's jobs go on


@contextmanager
def owning_workers(launcher: str) -> Iterator[None]:
    """The workers of this launcher end with this process."""
    if launcher not in TAKES_WORKERS_ALONG:
        yield
        return
    os.environ[SWEEP] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(SWEEP, None)


class Owner:
    """The sweep's process, as a worker sees it; without one it is never gone."""

    def __init__(self) -> None:
        text = os.environ.get(SWEEP, "")
        self.pid = int(text) if text.isdigit() and int(text) != os.getpid() else None
        self.is_parent = self.pid is not None and os.getppid() == self.pid

    def is_gone(self) -> bool:
        if self.pid is None:
            return False
        if self.is_parent:  # the number may be somebody else's by now
            return os.getppid() != self.pid
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class Worker:
    """This process, if a launcher started it: no job begins in it once the sweep's process is gone."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.jobs = 0  # under way
        self.changed = threading.Condition()
        if self.owner.pid is not None:
            threading.Thread(target=self.leave_with_owner, daemon=True).start()

    def leave_with_owner(self) -> None:
        """Wait for the jobs under way, which are told to save themselves; what is queued
        behind them must not start.
        """
        while not self.owner.is_gone():
            time.sleep(POLL)
        with self.changed:
            self.changed.wait_for(lambda: self.jobs == 0)
            os._exit(1)

    @contextmanager
    def job(self) -> Iterator[Owner]:
        with self.changed:
            if self.owner.is_gone() and not self.jobs:
                os._exit(1)
            self.jobs += 1
        try:
            yield self.owner
        finally:
            with self.changed:
                self.jobs -= 1
                self.changed.notify_all()


_worker: list[Worker] = []
_borrowed: list[bool] = []


@contextmanager
def borrowing_user_process() -> Iterator[None]:
    """This process is the user's own, a notebook or a script: what they registered in it, no child knows."""
    _borrowed.append(True)
    try:
        yield
    finally:
        _borrowed.pop()


def is_borrowed() -> bool:
    """Whether a command runs in a process of the user's."""
    return bool(_borrowed)


def this_worker() -> Worker:
    """Made at the first job: a process may be forked from one that had another owner."""
    if not _worker or _worker[0].owner.pid != Owner().pid:
        _worker[:] = [Worker()]
    return _worker[0]
