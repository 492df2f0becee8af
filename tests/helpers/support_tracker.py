"""A tracker that writes what it is told to a file beside the run's folder, one for each id that it gives."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgrun.storage.trackers import base


class FileTracker:
    """Rows in ``<id>.tracked``; every row is on the disk before it goes on."""

    def __init__(self, told: base.TrackedRun):
        self.run_id = told.known_as or base.make_run_id()
        self.place = told.folder.parent / f"{self.run_id}.tracked"

    def add_row(self, env_steps: int, scalars: Mapping[str, float]) -> None:
        with self.place.open("a") as file:
            file.write(json.dumps([env_steps, {tag: float(x) for tag, x in scalars.items()}]) + "\n")

    def close(self, ok: bool) -> None:
        with self.place.open("a") as file:
            file.write(json.dumps(["closed", ok]) + "\n")


def track_into_files() -> None:
    """W&B is this one, in this process and those that it forks."""
    base.CLASSES["wandb"] = f"{__name__}:FileTracker"
    base.find_missing_trackers = lambda names: []


def find_tracked(folder: Path) -> dict[int, Any]:
    """{env_steps: scalars without times} that the tracker of a run holds in the end.

    Raises ``ValueError`` where a row that was sent twice had other values the second time.
    """
    run_id = json.loads((folder / base.RECORD).read_text())["wandb"]
    rows: dict[int, Any] = {}
    for line in (folder.parent / f"{run_id}.tracked").read_text().splitlines():
        env_steps, told = json.loads(line)
        if env_steps == "closed":
            continue
        bits = {tag: struct.pack("d", x) for tag, x in told.items() if not tag.startswith("time/")}
        if rows.setdefault(env_steps, bits) != bits:
            raise ValueError(f"the row of step {env_steps} was sent with other values")
    return rows
