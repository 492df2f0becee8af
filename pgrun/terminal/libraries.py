"""What the libraries that compute are told before they are loaded: their threads, and which processor."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from pgrun.errors import InvalidCommand

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# With PGRUN_PORTABLE=1: code of the processors that have AVX2 and FMA (x86-64-v3: Intel from 2013, AMD from
# 2017), on every one of them. Each library would choose by the processor, and another order of a sum is
# another rounding.
PORTABLE = "PGRUN_PORTABLE"
PORTABLE_PROCESSOR = "x86-64-v3"
PROCESSOR_VARIABLES = {
    "NUMBA_CPU_NAME": PORTABLE_PROCESSOR,  # kernels
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt",
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's matrix products
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's loops
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's loops
    "MKL_CBWR": "COMPATIBLE",  # torch's matrix products
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


def pin_libraries(argv: list[str]) -> None:
    """Set what NumPy's, torch's and numba's libraries read when they are loaded.

    Threads are ``threads=…`` of the command or one; torch's own are set in ``build_run``. Raises
    ``InvalidCommand`` as ``pin_processor``.
    """
    typed = (re.match(r"threads=(\d+)", word) for word in argv)
    threads = next((match[1] for match in typed if match), "1")
    for name in THREAD_VARIABLES:
        os.environ[name] = threads
    pin_processor()


def is_portable() -> bool:
    """Whether ``PGRUN_PORTABLE`` asks for the same numbers on every processor."""
    return os.environ.get(PORTABLE, "0") not in ("", "0")


def pin_processor() -> None:
    """With ``PGRUN_PORTABLE=1``: the same machine code on every x86-64 processor with AVX2.

    Raises ``InvalidCommand`` on any other, and where a library has chosen its code already.
    """
    if not is_portable():
        return
    given = os.environ[PORTABLE]
    if not has_avx2():
        raise InvalidCommand(
            PORTABLE,
            given,
            f"is for x86-64 processors with AVX2, this one is {platform.machine()}",
            "unset it",
        )
    pinned = PROCESSOR_VARIABLES.items() <= os.environ.items()
    if loaded := not pinned and [name for name in ("numpy", "numba") if name in sys.modules]:
        raise InvalidCommand(
            PORTABLE,
            given,
            f"{' and '.join(loaded)}, loaded already, chose code for this processor",
            "set it and call pgrun before they are imported, in a fresh process",
        )
    os.environ |= PROCESSOR_VARIABLES


def has_avx2() -> bool:
    """Whether this is an x86-64 processor with AVX2 and FMA; without Linux's list they are presumed."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    listed = Path("/proc/cpuinfo")
    flags = re.search(r"^flags\s*:(.*)$", listed.read_text(), re.MULTILINE) if listed.exists() else None
    return flags is None or {"avx2", "fma"} <= set(flags[1].split())
