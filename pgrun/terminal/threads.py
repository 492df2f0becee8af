"""Threads of NumPy's libraries, set before it is loaded."""

from __future__ import annotations

import os
import re

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pin_threads(argv: list[str]) -> None:
    """NumPy's BLAS reads these when it is loaded; torch's own threads are set in ``build_run``."""
    typed = (re.match(r"threads=(\d+)", word) for word in argv)
    threads = next((match[1] for match in typed if match), "1")
    for name in THREAD_VARIABLES:
        os.environ[name] = threads
