"""Imported by the server that a sweep's jobs are forked from, and by nothing else."""

import signal

from pgrun.jobs.signals import CODES

for number in CODES:  # they reach the whole process group, and are for the jobs
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, CODES)

import hydra.core.utils  # noqa: E402, F401
import torch  # noqa: E402, F401

import pgrun.command.report  # noqa: E402
import pgrun.jobs.again  # noqa: E402
import pgrun.jobs.child  # noqa: E402
import pgrun.jobs.job  # noqa: E402
import pgrun.train  # noqa: E402, F401
