"""One number out of a safetensors file, without the rest of it, which may be a network of any size."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from pgrun.atomic_files import OTHERS, open_plain

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4"}


def read_number(place: Path, name: str) -> float:
    """The first entry of the tensor ``name``. Raises ``OSError``, or ``ValueError`` where there is none."""
    with open_plain(place, links=True) as file:
        size = int.from_bytes(file.read(8), "little")
        if size > OTHERS:
            raise ValueError(f"a header of {size} bytes")
        try:
            entry = json.loads(file.read(size))[name]
            kind, start = np.dtype(DTYPES[entry["dtype"]]), int(entry["data_offsets"][0])
            file.seek(start, os.SEEK_CUR)
        except (LookupError, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(f"no number {name} in {place.name}") from error
        return float(np.frombuffer(file.read(kind.itemsize), kind)[0])
