"""A command changes the process that it runs in, which from a terminal is its own.

Here it is the user's, and is given back.
"""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pgrun.runs.workers import borrowing_user_process
from pgrun.terminal.libraries import THREAD_VARIABLES, pin_libraries

ONE_COMMAND = threading.RLock()  # Hydra, sys.argv and the logging are one to a process
VARIABLES = (*THREAD_VARIABLES, "HYDRA_FULL_ERROR")


@contextmanager
def borrowed_process(argv: Sequence[str]) -> Iterator[None]:
    """Nobody else runs a command in this process meanwhile, and what a command
    changes in it is afterwards as it was.
    """
    with (
        ONE_COMMAND,
        borrowing_user_process(),
        kept_arguments(),
        kept_environment(),
        kept_logging(),
        kept_signals(),
        kept_hydra(),
        kept_torch(),
        kept_numpy(argv),
    ):
        yield


@contextmanager
def kept_arguments() -> Iterator[None]:
    before = sys.argv[:]
    try:
        yield
    finally:
        sys.argv[:] = before


@contextmanager
def kept_environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def kept_logging() -> Iterator[None]:
    """Hydra's ``dictConfig`` takes the root logger's handlers away, and closes every
    one that the logging knows of.
    """
    root, registered = logging.getLogger(), logging._handlerList  # type: ignore[attr-defined]
    handlers, level, known = root.handlers[:], root.level, registered[:]
    registered.clear()  # what is not known is not closed
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:], registered[:] = handlers, known
        root.setLevel(level)


@contextmanager
def kept_signals() -> Iterator[None]:
    """After Ctrl-C too: a run that was stopped leaves its handlers, for which a
    second one ends the process.
    """
    from pgrun.terminal.signals import CODES

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it is no handler of Python's
                signal.signal(number, handler)


@contextmanager
def kept_hydra() -> Iterator[None]:
    """For who is in a Hydra application of their own, or has called ``hydra.initialize``."""
    from hydra.core.global_hydra import GlobalHydra

    from pgrun.command.hydra_env import PgrunSearchPath

    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = theirs
        PgrunSearchPath.folders = []


@contextmanager
def kept_torch() -> Iterator[None]:
    import torch

    grad, threads, dtype = torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float32)  # what a command of its own would find
    try:
        yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_rng_state(state)


@contextmanager
def kept_numpy(argv: Sequence[str]) -> Iterator[None]:
    """NumPy's OpenBLAS gets the command's number of threads, on which the last bits of large products hang,
    and global generators are put back.

    Elsewhere the number is read from the environment when NumPy is loaded, which here may have been long ago.
    """
    pin_libraries(list(argv))
    import numpy as np

    states = random.getstate(), np.random.get_state()
    before = set_openblas_threads(int(os.environ[THREAD_VARIABLES[0]]))
    try:
        yield
    finally:
        if before is not None:
            set_openblas_threads(before)
        random.setstate(states[0])
        np.random.set_state(states[1])


def set_openblas_threads(number: int) -> int | None:
    """The number before; None where NumPy has no OpenBLAS of its own, as its wheels have."""
    import numpy as np

    for library in Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*"):
        for suffix in ("64_", ""):
            with suppress(AttributeError, OSError):
                blas = ctypes.CDLL(str(library))
                before: int = getattr(blas, f"scipy_openblas_get_num_threads{suffix}")()
                getattr(blas, f"scipy_openblas_set_num_threads{suffix}")(number)
                return before
    return None
