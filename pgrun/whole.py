"""Files that are whole or not there at all, also when the process dies or the power goes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(place: Path, content: bytes) -> None:
    """Written beside ``place``, flushed to disk, then moved there. Raises ``OSError`` and leaves what was there."""
    part = place.with_name(f".{place.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(place: Path, content: Mapping[str, Any]) -> None:
    write(place, (json.dumps(content, indent=2) + "\n").encode())
