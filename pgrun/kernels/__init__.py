"""The compiled core: the objects behind an update in numba, on flat float32 arrays; torch stays the definition they are tested against.

Whoever imports a module of this package other than this one imports numba: ask ``is_available`` first.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util

NEEDED = ("numba", "scipy")  # numba's matrix products call the BLAS that SciPy brings


def has_machine_code() -> bool:
    """Whether the kernels of an update have been compiled on this machine before, and kept."""
    from pgrun.kernels.jit import is_cached
    from pgrun.kernels.minibatch import ascend_epoch

    return is_cached(ascend_epoch)


def is_available() -> bool:
    """Whether what the kernels need is installed; it is not imported for that."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def missing_packages() -> list[str]:
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def versions() -> dict[str, str]:
    """Of what the compiled numbers depend on."""
    return {name: importlib.metadata.version(name) for name in NEEDED}
