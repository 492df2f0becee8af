"""What a tracker is, and those that follow a run: whatever one of them does, the run goes on."""

from __future__ import annotations

import importlib
import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pgrun.atomic_files import read_json, write_json
from pgrun.config.random_streams import isolating_global_generators
from pgrun.errors import escape_line, join_lines

RECORD = "trackers.json"  # in the run's folder: the id that each tracker knows the run by
CLASSES = {
    "wandb": "pgrun.storage.trackers.wandb_run:WandbRun",
    "mlflow": "pgrun.storage.trackers.mlflow_run:MlflowRun",
    "trackio": "pgrun.storage.trackers.trackio_run:TrackioRun",
}
ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
SHOWN = 200  # characters of what a tracker says of its failure
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told at the start."""

    folder: Path
    project: str  # W&B's and trackio's project, MLflow's experiment
    settings: Mapping[str, Any]  # nested
    known_as: str | None  # its id, where the run was begun before


class Tracker(Protocol):
    """A class that takes a ``TrackedRun``; it may raise whatever it likes, whenever it likes."""

    run_id: str

    def add_row(self, env_steps: int, scalars: Mapping[str, float]) -> None: ...

    def close(self, ok: bool) -> None: ...


class Trackers:
    """The trackers of one run. One that fails says so once, and is left out from then on."""

    def __init__(
        self, folder: Path, names: Sequence[str] = (), project: str = "pgrun", settings: Any = None
    ) -> None:
        self.open: dict[str, Tracker] = {}
        known = read_tracker_ids(folder) if names else {}
        for name in names:
            told = TrackedRun(folder, project, settings or {}, known.get(name))
            self._attempt(name, lambda name=name, told=told: self._start(name, told))  # type: ignore[misc]
        ids = known | {name: tracker.run_id for name, tracker in self.open.items()}
        if ids != known:
            write_json(folder / RECORD, ids)

    def _start(self, name: str, told: TrackedRun) -> None:
        module, _, cls = CLASSES[name].partition(":")
        self.open[name] = getattr(importlib.import_module(module), cls)(told)

    def add_row(self, env_steps: int, scalars: Mapping[str, float]) -> None:
        for name, tracker in list(self.open.items()):
            self._attempt(name, lambda tracker=tracker: tracker.add_row(env_steps, scalars))  # type: ignore[misc]

    def close(self, ok: bool) -> None:
        """``ok``: the run is finished, and was not stopped."""
        for name, tracker in list(self.open.items()):
            self._attempt(name, lambda tracker=tracker: tracker.close(ok))  # type: ignore[misc]
        self.open.clear()

    def _attempt(self, name: str, act: Callable[[], None]) -> None:
        """The process's random numbers, which an environment may draw from, stay what they were."""
        try:
            with isolating_global_generators(np.random.SeedSequence()):
                act()
        except (Exception, SystemExit) as error:
            self.open.pop(name, None)
            said = escape_line(join_lines(f"{type(error).__name__}: {error}"))[:SHOWN]
            log.warning("%s failed and gets nothing more of this run, which goes on: %s", name, said)


def make_run_id() -> str:
    return uuid.uuid4().hex


def read_tracker_ids(folder: Path) -> dict[str, str]:
    """Of the run's earlier part. A record that is no record is said, and the trackers begin anew."""
    place = folder / RECORD
    if not place.exists() and not place.is_symlink():
        return {}
    try:
        json = read_json(place)
        if isinstance(json, dict) and all(isinstance(x, str) and ID.fullmatch(x) for x in json.values()):
            return {name: json[name] for name in CLASSES if name in json}
    except (OSError, ValueError):
        pass
    log.warning("%s cannot be read: trackers begin a new run", place)
    return {}


def find_missing_trackers(names: Sequence[str]) -> list[str]:
    """Those whose package, and so the extra of the same name, is not installed.

    A folder ``wandb`` in the current one is no package: W&B leaves such folders.
    """
    return [name for name in names if name in CLASSES and not is_regular_package(name)]


def is_regular_package(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and spec.origin is not None
