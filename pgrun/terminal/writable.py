"""Whether a place that a command names can be written, found out before anything is."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from pgrun.errors import InvalidCommand

BELOW = 300  # bytes of the names that come below a folder: .hydra, checkpoints, event files
PART, PATH = 255, 4095  # bytes of one name and of all of them
KEPT = ("metrics.csv", "study.png")  # of a run's or a study's files, those with the ending of some output
MARKS = ("job.json", "summary.json", ".hydra")  # one of them is in the folder of a run or of a study


def reason_unwritable(folder: Path) -> str | None:
    """Why nothing can be made in ``folder``, which need not be there yet.

    Tried rather than asked: permissions say nothing to root, or about a read-only disk.
    """
    if is_too_long(folder):
        return os.strerror(errno.ENAMETOOLONG)
    existing = folder
    while not os.path.lexists(existing):
        existing = existing.parent
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".pgrun-", dir=existing))
    except OSError as error:
        return error.strerror or str(error)
    return None


def is_too_long(folder: Path) -> bool:
    """For a folder with files in it: the system takes shorter names alone."""
    whole = len(os.fsencode(Path.cwd() / folder)) + BELOW
    return whole > PATH or any(len(os.fsencode(part)) > PART for part in folder.parts)


def refuse_unwritable_folder(option: str, folder: Path) -> None:
    """Raises ``InvalidCommand`` where ``folder``, named by ``option``, is or would be no
    folder that can be written in.
    """
    if reason := reason_unwritable(folder):
        raise InvalidCommand(option, folder, f"cannot be written: {reason}", "name another folder")


def refuse_unwritable_file(option: str, file: Path) -> None:
    """Raises ``InvalidCommand`` where ``file``, named by ``option``, cannot be made or
    replaced; its folder must be there, and no run may keep it.
    """
    if is_kept_by_run(file):
        raise InvalidCommand(option, file, "a run keeps its own figures there", "name another file")
    if is_too_long(file):
        reason: str | None = os.strerror(errno.ENAMETOOLONG)
    elif not file.parent.is_dir():
        reason = "its folder is not there"
    else:
        reason = os.strerror(errno.EISDIR) if file.is_dir() else reason_unwritable(file.parent)
    if reason:
        raise InvalidCommand(
            option, file, f"cannot be written: {reason}", "name a file in a folder that exists and is yours"
        )


def is_kept_by_run(file: Path) -> bool:
    """Whether it is what a run, or a study, has written in its folder."""
    place = Path(os.path.realpath(file))
    beside = any((place.parent / mark).exists() for mark in MARKS)
    return place.name in KEPT and beside and place.exists()
