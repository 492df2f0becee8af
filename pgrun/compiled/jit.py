"""The two ways in which a function is compiled here: ``compiled`` may regroup sums, ``exact`` rounds as Python and NumPy do.

``entry`` marks what Python calls: its machine code is kept on disk, with that of all it calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

REGROUPED = {"contract", "nsz", "arcp", "reassoc"}  # never nnan or ninf: what is not finite must be seen

ENTRY: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
INNER = {**ENTRY, "no_cpython_wrapper": True}  # a third less to compile; Python cannot call it


def compiled(function: Callable[..., Any]) -> Any:
    """For networks: fast, and the same bits in every process on a machine, but not those of another library."""
    return njit(**INNER, fastmath=REGROUPED)(function)


def exact(function: Callable[..., Any]) -> Any:
    """For environments: every operation in the order that is written."""
    return njit(**INNER)(function)


def entry(function: Callable[..., Any]) -> Any:
    """``exact``, kept on disk; where no folder can be written, compiled in every process."""
    try:
        found = njit(**ENTRY, cache=True)(function)
    except RuntimeError:  # numba: no locator available
        return njit(**ENTRY)(function)
    # numba looks for changes in the function's own file alone; what it calls may stand in another one.
    found._cache._cache_file._source_stamp = sources()
    return found


@cache
def sources() -> bytes:
    """Of the files of this package: changed with any of them."""
    text = b"".join(place.read_bytes() for place in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(text).digest()
