"""The objects of a run that begins, or goes on from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pgrun.runs.job_status import write_settings
from pgrun.training.backends import choose_backend
from pgrun.training.build import Run, build_run, resolve_device
from pgrun.training.identity import backend_of
from pgrun.training.saver import refusing_bad_data


def find_backend(settings: Mapping[str, Any], folder: Path, saved: Mapping[str, Any] | None) -> str:
    """The backend that the run was saved with; of a new one what ``backend`` asks for.

    Raises ``InvalidCommand``.
    """
    with refusing_unbuildable(folder, saved):
        return backend_of(saved) if saved else choose_backend(settings, resolve_device(settings["device"]))


def build_or_restore(
    settings: Mapping[str, Any], folder: Path, saved: Mapping[str, Any] | None, backend: str
) -> Run:
    """The run's objects; the folder of a new one says what they are. Raises ``InvalidCommand``."""
    with refusing_unbuildable(folder, saved):
        run = build_run(settings, backend)
    if not saved:
        write_settings(folder, settings, run.backend)
    return run


def refusing_unbuildable(folder: Path, saved: Mapping[str, Any] | None) -> AbstractContextManager[None]:
    """Of what is saved anything may be missing or wrong."""
    what = f"{folder}: its configuration cannot be built"
    return refusing_bad_data(what, saved) if saved else nullcontext()
