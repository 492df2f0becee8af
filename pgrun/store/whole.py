"""Files of a run directory: written whole or not at all, also when the process dies or the power goes; read if they are plain."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def write(place: Path, content: bytes) -> None:
    """Written beside ``place``, flushed to disk, then moved there. Raises ``OSError`` and leaves what was there.

    What stands at ``place``, be it a link or one of several names of a file, is replaced and never written to.
    """
    part = place.with_name(f".{place.name}.part")
    try:
        with naming(place):
            part.unlink(missing_ok=True)
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(place)
            flush_folder(place.parent)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_json(place: Path, content: Mapping[str, Any]) -> None:
    write(place, (json.dumps(content, indent=2) + "\n").encode())


def flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(place: Path, links: bool = False) -> bytes:
    """All of a plain file. Raises ``OSError`` for anything else: a pipe would be waited for, a link leads anywhere."""
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW))
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(place))
        with naming(place):
            return file.read()


def read_json(place: Path, links: bool = False) -> Any:
    """Raises ``OSError``, and ``ValueError`` for whatever is no JSON."""
    content = read(place, links)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def refuse_links(place: Path) -> None:
    """Raises ``OSError`` where there is something at ``place`` that is neither a plain file nor a folder."""
    with suppress(FileNotFoundError):
        mode = place.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(
                errno.EINVAL, "no plain file or folder: links and devices lead out of a run", str(place)
            )


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """An ``OSError`` says where: that of a failed write does not by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(place)) from error
