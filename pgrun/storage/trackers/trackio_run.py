"""Trackio: a SQLite file on this machine, in the folder that ``TRACKIO_DIR`` names or in trackio's own."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import trackio

from pgrun.config.settings import flatten_settings
from pgrun.storage.trackers.base import TrackedRun, make_run_id


class TrackioRun:
    """A run of trackio's with the same scalars over environment steps, and the settings as its config.

    Trackio knows a run by its name: that of the folder, and a few letters that tell it from others.
    """

    def __init__(self, told: TrackedRun):
        self.run_id = told.known_as or make_trackio_name(told.folder)
        with redirect_stdout(io.StringIO()):  # its greeting
            self.run = trackio.init(
                project=told.project,
                name=self.run_id,
                group=told.folder.parent.name,  # a sweep's, or the day
                config=flatten_settings(told.settings),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def add_row(self, env_steps: int, scalars: Mapping[str, float]) -> None:
        self.run.log(dict(scalars), step=env_steps)

    def close(self, ok: bool) -> None:
        with redirect_stdout(io.StringIO()):
            trackio.finish()


def make_trackio_name(folder: Path) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', folder.name)[:50]}_{make_run_id()[:8]}"
