"""What is compiled to machine code by numba: nothing outside this package imports numba."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec


@cache
def is_available() -> bool:
    """Whether numba is installed; it is not imported for that."""
    return find_spec("numba") is not None
