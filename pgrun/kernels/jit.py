"""How every kernel is compiled: the options, in one place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
import numpy as np
from numba import types

from pgrun.kernels.blas import load_blas
from pgrun.kernels.stored_code import StoredCode

load_blas()

# Sums may be reordered and products contracted; NaN and infinity must stay what they are (no nnan, no ninf).
FAST = {"contract", "nsz", "arcp", "reassoc"}


def kernel(
    fast: bool = False, inner: bool = False, inline: bool = False, allocates: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: compile a function at its first call, and keep the machine code on disk.

    It is kept beside the package or in the user's cache; where neither can be written the code lives as long
    as the process.

    ``fast`` lets sums be reordered, so that loops vectorise; without it every operation is rounded as Python
    and NumPy do. An ``inner`` one is called by kernels alone, and is a part of each of them; any other is
    compiled once, and called where it lies. ``inline``: its code is put in where it is called. Without
    ``allocates`` a kernel makes no arrays, and references are not counted (``_nrt``): half of the
    compilation. Kernels return numbers or nothing, and let go of Python's lock, so that two can run at once.
    """
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": FAST if fast else False}
    options |= {"no_cfunc_wrapper": True, "no_cpython_wrapper": inner, "_nrt": allocates, "nogil": not inner}
    if inline:
        options["inline"] = "always"

    def compile_function(function: Callable[..., Any]) -> Any:
        """The function compiled, with a cache that is good for these sources alone."""
        dispatcher = numba.njit(**options)(function)
        if not inner:
            with suppress(RuntimeError):  # where no folder for the cache can be written
                dispatcher._cache = StoredCode(function, allocates)
        return dispatcher

    return compile_function


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
