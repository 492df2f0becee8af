"""How every kernel is compiled: the options, in one place.

Here, too, the BLAS that numba calls is kept to one thread.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import numpy as np
import scipy
from numba import types
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

# Sums may be reordered and products contracted; NaN and infinity must stay what they are (no nnan, no ninf).
FAST = {"contract", "nsz", "arcp", "reassoc"}


def kernel(
    fast: bool = False, inner: bool = False, inline: bool = False, allocates: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: compile a function at its first call, and keep the machine code on disk.

    It is kept beside the package or in the user's cache; where neither can be written the code lives as long
    as the process.

    ``fast`` lets sums be reordered, so that loops vectorise; without it every operation is rounded as Python
    and NumPy do. An ``inner`` one is called by kernels alone, and has nothing that Python could call it by.
    ``inline``: its code is put in where it is called. Without ``allocates`` a kernel makes no arrays, and
    references are not counted (``_nrt``): half of the compilation. Kernels return numbers or nothing, and let
    go of Python's lock, so that two can run at once.
    """
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": FAST if fast else False}
    options |= {"no_cfunc_wrapper": True, "no_cpython_wrapper": inner, "_nrt": allocates, "nogil": not inner}
    if inline:
        options["inline"] = "always"

    def compile_function(function: Callable[..., Any]) -> Any:
        """The function compiled, with a cache that is good for these sources alone."""
        if inner:  # part of the kernels that call it
            return numba.njit(**options)(function)
        dispatcher = numba.njit(**options)(function)
        try:
            kept = StoredCode(function)
        except RuntimeError:  # no folder for the cache can be written
            return dispatcher
        kept._cache_file._source_stamp = SOURCES
        kept.allocates = allocates
        dispatcher._cache = kept
        return dispatcher

    return compile_function


class StoredCode(FunctionCache):
    """Machine code on disk, read without what only a compilation needs.

    numba's own cache declares every type and function that numba knows to the compiler before it reads: a
    second in each process. What is not on disk is compiled, and the compiler asks for all that itself.
    """

    allocates = False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel for these types of arguments, or None."""
        if self.allocates:
            rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def is_cached(dispatcher: Any) -> bool:
    """Whether machine code of this kernel, of these sources, is kept on disk."""
    if dispatcher.signatures:  # in memory already
        return True
    try:
        return bool(dispatcher._cache._cache_file._load_index())
    except AttributeError:  # nothing can be kept
        return False


def digest_sources() -> str:
    """A hash of every file of this package.

    numba keeps machine code until the file of the function itself changes; but it holds that of the kernels
    called, too, from whichever file.
    """
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


SOURCES = digest_sources()


def use_one_blas_thread() -> None:
    """Keep SciPy's OpenBLAS, which numba's products call, to one thread.

    How a sum is split over threads moves its last bits.
    """
    for library in Path(scipy.__file__).parent.parent.glob("scipy.libs/*openblas*"):
        for suffix in ("", "64_"):
            with suppress(AttributeError, OSError):
                getattr(ctypes.CDLL(str(library)), f"scipy_openblas_set_num_threads{suffix}")(1)


use_one_blas_thread()

F32 = np.float32
ZERO, HALF, ONE, TWO = F32(0), F32(0.5), F32(1), F32(2)


# C = AB of matrices in column order, by the BLAS that numba has found: the function behind ``np.dot``,
# which itself would count references. (kind, transpose A, transpose B, m, n, k, α, A, lda, B, ldb, β, C, ldc)
gemm: Any = types.ExternalFunction(
    "numba_xxgemm",
    types.int32(
        types.int8, types.int8, types.int8, types.intp, types.intp, types.intp,
        types.voidptr, types.voidptr, types.intp, types.voidptr, types.intp,
        types.voidptr, types.voidptr, types.intp,
    ),
)  # fmt: skip
SINGLE, PLAIN, TRANSPOSED = np.int8(ord("s")), np.int8(ord("n")), np.int8(ord("t"))
ALPHA, BETA = np.ones(1, np.float32), np.zeros(1, np.float32)
