"""How Slurm's jobs are, where it keeps no accounts.

submitit asks ``sacct``, which has nothing to say there: a job that ended without a result (cancelled while it
was queued, lost with its node) would be waited for for ever. The controller itself knows.
"""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

LAUNCHERS = ("slurm", "submitit_slurm")
ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT"),
)
GONE = "GONE"  # the controller has forgotten it, which it does some minutes after the end
ANSWERS = 60.0  # seconds in which Slurm does


@contextmanager
def knowing_slurm_states(launcher: str) -> Iterator[None]:
    """Within it, submitit learns from ``squeue`` what ``sacct`` does not tell."""
    if launcher not in LAUNCHERS or ask_slurm("sacct", "--noheader") is not None:
        yield
        return
    from submitit.slurm.slurm import SlurmInfoWatcher

    def update(watcher: Any) -> None:
        if (states := read_queue()) is not None:
            known = {job: {"State": states.get(job, GONE)} for job in watcher._registered}
            watcher._info_dict.update(known)

    with patch.object(SlurmInfoWatcher, "update", update):
        yield


def read_queue() -> dict[str, str] | None:
    """The states of the user's jobs, for a while those that are over among them; None without an answer."""
    told = ask_slurm("squeue", "-h", "-r", "-t", "all", "-u", getpass.getuser(), "-o", "%i|%T")
    if told is None:
        return None
    pairs = (line.split("|") for line in told.splitlines() if "|" in line)
    return {job: state if state in ENDED else "RUNNING" for job, state in pairs}


def ask_slurm(*command: str) -> str | None:
    """What it says; None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWERS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
