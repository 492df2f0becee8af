"""The time that a run is measured by. It stands still while machine code is compiled: that is set-up, and is
done once on a machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class TrainingTime:
    """Seconds from some moment on, without those between ``pause`` and ``go_on``."""

    paused: float = 0.0  # of all pauses that are over
    begun: float | None = None  # of the one that is not

    def now(self) -> float:
        """The present time, or that at which a pause began."""
        return (time.perf_counter() if self.begun is None else self.begun) - self.paused

    def pause(self) -> None:
        self.begun = time.perf_counter()

    def go_on(self) -> None:
        if self.begun is not None:
            self.paused += time.perf_counter() - self.begun
        self.begun = None


TRAINING_TIME = TrainingTime()  # of this process
