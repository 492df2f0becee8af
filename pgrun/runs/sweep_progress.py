"""How far a sweep is, said after each job, whichever launcher runs them and in whatever processes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pgrun.command.app import App
from pgrun.runs.announce import format_duration, steps_of
from pgrun.runs.job_status import read_result
from pgrun.terminal.printing import Tone, say

if TYPE_CHECKING:
    from pgrun.command.compose import Job

POLL = 0.3  # seconds between looks at the folders of jobs, at least
LOOKS = 1000  # folders a second, at most: a sweep may have thousands


class SweepProgress:
    """The jobs of a sweep as their folders show them: one is over when its result is written, or written
    anew.
    """

    def __init__(self, jobs: Sequence[Job], app: App):
        self.app, self.total, self.begun = app, len(jobs), time.monotonic()
        weights = {job.folder: steps_of(job) if "trainer" in job.settings else 1 for job in jobs}
        done = {folder for folder in weights if read_result(folder, app)["status"] in ("finished", "pruned")}
        self.left = {folder: weight for folder, weight in weights.items() if folder not in done}
        self.stamps = {folder: self.stamp(folder) for folder in self.left}
        self.to_do = sum(self.left.values())

    def stamp(self, folder: Path) -> int | None:
        """When the result was written."""
        try:
            return (folder / self.app.result).lstat().st_mtime_ns
        except OSError:
            return None

    def look(self) -> None:
        """Say which jobs have ended since the last look."""
        for folder in [f for f in self.left if self.stamp(f) not in (None, self.stamps[f])]:
            del self.left[folder]
            say(f"sweep: {self.describe(folder)}", error=True, tone=Tone.PLAIN)

    def describe(self, folder: Path) -> str:
        """``4 of 9 jobs done (3_algo=a2c,seed=0: 231.5), about 12 min left``."""
        result = read_result(folder, self.app)
        value = self.app.value(result) if result["status"] == "finished" else math.nan
        came_out = f"{value:.4g}" if value == value else result["status"]
        told = f"{self.total - len(self.left)} of {self.total} jobs done ({folder.name}: {came_out})"
        return f"{told}, about {format_duration(self.seconds_left())} left" if self.left else told

    def seconds_left(self) -> float:
        """If the rest takes as long a step as what was done in this command."""
        rest = sum(self.left.values())
        return (time.monotonic() - self.begun) * rest / max(self.to_do - rest, 1)


@contextmanager
def telling_progress(jobs: Sequence[Job], app: App) -> Iterator[None]:
    """Meanwhile, from a thread of its own: the jobs may be in processes that this one did not start."""
    progress, over = SweepProgress(jobs, app), threading.Event()

    def watch() -> None:
        while not over.wait(max(POLL, len(progress.left) / LOOKS)):
            progress.look()
        progress.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
