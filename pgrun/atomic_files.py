"""Files of a run directory: written whole or not at all, also when the process dies or the power goes; read
if they are plain.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "bytes"))
OTHERS = 2**20
NAME_BYTES = 255  # of a file's name, in most file systems
LEADS_OUT = "no plain file or folder: links and devices lead out of a run"
LARGEST = {  # bytes that are read of a file, by its name or ending: several times what the longest runs leave
    ".json": 16 * 2**20,
    ".yaml": 2**20,
    ".csv": 256 * 2**20,  # half a million rows
    ".safetensors": 64 * 2**30,  # of a checkpoint, with a replay memory
    "policy.safetensors": 2**30,
    "best_policy.safetensors": 2**30,
}


def write_bytes(place: Path, content: bytes) -> None:
    """Written beside ``place``, flushed to disk, then moved there.

    Raises ``OSError`` and leaves what was there.

    What stands at ``place``, be it a link or one of several names of a file, is replaced and never written
    to.
    """
    replace_file(place, lambda file: file.write(content))


def replace_file(place: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Like ``write_bytes``, but ``fill`` writes the content, which need not be in memory."""
    part = place.with_name(f".{cut_name(place.name, NAME_BYTES - len('..part'))}.part")
    try:
        with naming_file_in_errors(place):
            part.unlink(missing_ok=True)
            with part.open("xb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(place)
            flush_folder(place.parent)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def cut_name(name: str, most: int) -> str:
    """Its first characters, of at most so many bytes, which are what file systems count."""
    encoded = name.encode(errors="surrogateescape")
    return name if len(encoded) <= most else encoded[:most].decode(errors="ignore")


def write_json(place: Path, content: Mapping[str, Any]) -> None:
    write_bytes(place, (json.dumps(content, indent=2) + "\n").encode())


def flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(place: Path, links: bool = False, most: int | None = None) -> bytes:
    """All of a plain file.

    Raises ``OSError`` for anything else: a pipe would be waited for, a link leads anywhere.

    Raises ``TooLarge`` where it has more than ``most`` bytes; without it, what ``LARGEST`` says of its kind.
    """
    most = find_size_limit(place) if most is None else most
    with open_plain(place, links) as file, naming_file_in_errors(place):
        size = os.fstat(file.fileno()).st_size
        refuse_larger(place, size, most)
        return file.read(max(size, OTHERS))  # so much is set aside at once; files of /proc have no size


def open_plain(place: Path, links: bool = False) -> BinaryIO:
    """To be read. Raises ``OSError`` where it is no plain file."""
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "no plain file", str(place))
    return open(handle, "rb")


class TooLarge(ValueError):
    """A file has more bytes than any of its kind that a run leaves."""


def find_size_limit(place: Path) -> int:
    """Bytes that are read of such a file."""
    known = LARGEST.get(place.name) or LARGEST.get(place.suffix, OTHERS)
    return min(known, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


def refuse_larger(place: Path, size: int, most: int) -> None:
    """Asked before a file is read: some file systems make one of a terabyte out of nothing."""
    if size > most:
        raise TooLarge(f"{place.name} is larger than {show_size(most)}, the most that is read of it")


def show_size(size: int) -> str:
    return next(f"{size // unit:,} {name}" for unit, name in UNITS if size >= unit)


def read_json(place: Path, links: bool = False) -> Any:
    """Raises ``OSError``, and ``ValueError`` for whatever is no JSON."""
    content = read_bytes(place, links)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def refuse_links(place: Path) -> None:
    """Raises ``OSError`` where there is something at ``place`` that is neither a plain file nor a folder."""
    if leads_out(place):
        raise OSError(errno.EINVAL, LEADS_OUT, str(place))


def leads_out(place: Path) -> bool:
    """Whether what is at ``place`` is a link, a pipe or a device: what is written to it arrives elsewhere."""
    try:
        mode = place.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def find_link(top: Path, place: Path) -> Path | None:
    """The first on the way from the folder ``top``, which may be a link itself, down
    to ``place`` that leads out.
    """
    parts = place.relative_to(top).parts if place.is_relative_to(top) else ()
    way = [top.joinpath(*parts[: n + 1]) for n in range(len(parts))] or [place]
    return next((step for step in way if leads_out(step)), None)


@contextmanager
def naming_file_in_errors(place: Path) -> Iterator[None]:
    """An ``OSError`` says where: that of a failed write does not by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(place)) from error
