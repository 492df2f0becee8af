"""The BLAS that numba's matrix products call: SciPy's, found without the rest of it, and on one thread."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import scipy

POINTERS = "scipy.linalg.cython_blas"  # the module from which numba takes BLAS's addresses, by this name


def load_blas() -> None:
    """Load what numba asks for at the first matrix product, and keep it to one thread."""
    load_pointers()
    use_one_thread()


def load_pointers() -> None:
    """Load SciPy's module of addresses alone. Its package takes a quarter of a second, which is for nothing
    here; who imports that later finds the same module.
    """
    if POINTERS in sys.modules:
        return
    spec = PathFinder.find_spec(POINTERS, [str(Path(scipy.__file__).parent / "linalg")])
    if spec is None or spec.loader is None:
        return  # numba says what is missing
    module = sys.modules[POINTERS] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:
        del sys.modules[POINTERS]


def use_one_thread() -> None:
    """Keep SciPy's OpenBLAS to one thread: how a sum is split over threads moves its last bits."""
    for library in Path(scipy.__file__).parent.parent.glob("scipy.libs/*openblas*"):
        for suffix in ("", "64_"):
            with suppress(AttributeError, OSError):
                getattr(ctypes.CDLL(str(library)), f"scipy_openblas_set_num_threads{suffix}")(1)
