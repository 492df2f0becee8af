"""When a run is saved, and what of it."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgrun.checkpoint import Checkpoints
from pgrun.errors import Refused
from pgrun.log import Log

if TYPE_CHECKING:
    from pgrun.build import Run
    from pgrun.train import Clock, Counters

SHARE = 0.02  # of the wall time that saving takes at most, where no cadence is set
FIRST = 5.0  # seconds before the first save


class Saver:
    """Every ``every`` environment steps; without it as often as ``SHARE`` of the time allows. Saving changes nothing in the run."""

    def __init__(self, folder: Path, every: int | None, env_steps: int = 0):
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.every, self.saved_at = every, env_steps
        self.next_time = time.monotonic() + FIRST

    def due(self, env_steps: int) -> bool:
        if self.every is not None:
            return env_steps // self.every > self.saved_at // self.every
        return time.monotonic() >= self.next_time

    def save(self, run: Run, log: Log, counters: Counters, clock: Clock) -> None:
        start = time.monotonic()
        state = {
            "settings": dict(run.settings),
            "run": run.state_dict(),
            "counters": asdict(counters),
            "clock": asdict(clock),
            "log": log.position(),
        }
        self.checkpoints.save(counters.env_steps, state)
        self.saved_at = counters.env_steps
        self.next_time = time.monotonic() + (time.monotonic() - start) / SHARE


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process writes into this run directory meanwhile. Raises ``Refused``."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(f"{folder}: another process is training there") from error
        yield


def restore(state: dict[str, Any], run: Run, counters: Counters, clock: Clock) -> None:
    """Everything as it was when ``state`` was saved."""
    run.load_state_dict(state["run"])
    for record, name in ((counters, "counters"), (clock, "clock")):
        for key, value in state[name].items():
            setattr(record, key, value)
