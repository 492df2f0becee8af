"""Kernels: functions on NumPy arrays that numba compiles to machine code, and what they need around them.

The package stands at the bottom: it imports nothing of pgrun but itself. Its kernels know arrays and numbers
and no policy, critic or run; the formulas that they compute are defined by torch elsewhere, and tested
against that. ``pgrun.compiled`` has the twins: objects with the methods of pgrun's own that call these
kernels.

This module imports no numba; every other module with kernels does. So ask ``is_available`` before one of them
is imported.
"""

from __future__ import annotations

import importlib.util

NEEDED = ("numba", "scipy")  # numba's matrix products call the BLAS that SciPy brings


def is_available() -> bool:
    """Whether what the kernels need is installed; it is not imported for that."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def missing_packages() -> list[str]:
    """The packages that kernels need and that are not installed, by name."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]
