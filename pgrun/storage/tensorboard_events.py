"""One TensorBoard event file, written by the thread that logs: what the disk refuses
is raised there, at once.

TensorBoard's own writer has a thread of its own, which dies of a full disk; closing it then waits for ever.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from pgrun.atomic_files import naming_file_in_errors
from pgrun.config.paths import EVENT_FILES
from pgrun.storage.tensorboard_records import write_event_record

NUMBERS = itertools.count()


class EventFile:
    """A new one, beside those that are there."""

    def __init__(self, folder: Path):
        name = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(NUMBERS)}"
        self.place = folder / EVENT_FILES.replace("*", name)
        self.file = self.place.open("xb")
        self._write(Event(file_version="brain.Event:2"))

    def add(self, summary: Summary, step: int = 0) -> None:
        self._write(Event(step=step, summary=summary))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with naming_file_in_errors(self.place):
            write_event_record(self.file, event.SerializeToString())
