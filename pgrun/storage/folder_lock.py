"""A run's or sweep's directory is one process's at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pgrun.atomic_files import refuse_links
from pgrun.errors import InvalidCommand

TRAINING = "another process is training there"
SWEEPING = "another sweep is running there"
HELD: set[Path] = set()  # directories that this process has to itself


class Occupied(InvalidCommand):
    """What is in the folder is another process's: nothing is written there, not even
    that this one was refused.
    """


@contextmanager
def run_lock(folder: Path, what: str = TRAINING) -> Iterator[None]:
    """No other process writes into this run's or sweep's directory meanwhile; once more within itself it
    changes nothing.

    Raises ``Occupied``, saying ``what`` does.
    """
    real = folder.resolve()
    if real in HELD:
        yield
        return
    place = folder / ".lock"
    refuse_links(place)
    lock = FileLock(place, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise Occupied(folder, None, what) from error
    HELD.add(real)
    try:
        yield
    finally:
        HELD.discard(real)
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether another process writes into this directory now. Makes no file there."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with run_lock(folder):
            return False
    except Occupied:
        return True
    except OSError:  # what cannot be locked is refused as what cannot be written
        return False
