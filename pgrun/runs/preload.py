"""Imported by the server that a sweep's jobs are forked from, and by nothing else."""

import signal

from pgrun.terminal.signals import CODES

for number in CODES:  # they reach the whole process group, and are for the jobs
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, CODES)

from contextlib import suppress  # noqa: E402

import hydra.core.utils  # noqa: E402, F401
import torch  # noqa: E402, F401

import pgrun.compiled.twins  # noqa: E402
import pgrun.runs.child_process  # noqa: E402
import pgrun.runs.job  # noqa: E402
import pgrun.runs.resume_sweep  # noqa: E402
import pgrun.terminal.printing  # noqa: E402
import pgrun.training.loop  # noqa: E402, F401

with suppress(ImportError):  # what numba imports with the first kernel
    import numba.np.arraymath  # noqa: F401
