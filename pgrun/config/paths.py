"""Where the configuration lies, and where the user stands.

Imports nothing heavy: ``--help`` and ``--version`` need it at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVENT_FILES = "events.out.tfevents.*"  # TensorBoard's, in a run's folder


def conf_dir() -> Path:
    """conf/ in the package in a wheel, beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    return next(place for place in (here / "conf", here.parent / "conf") if place.is_dir())


STOOD: list[Path] = []  # where commands under way were typed, the innermost last


@contextmanager
def showing_paths_from(folder: Path) -> Iterator[None]:
    """``hydra.job.chdir=true`` sends the process elsewhere meanwhile; paths are shown
    as they are from ``folder``.
    """
    STOOD.append(folder)
    try:
        yield
    finally:
        STOOD.pop()


def where_typed() -> Path:
    return STOOD[-1] if STOOD else Path.cwd()


# names in a run directory, of a .json and a .safetensors
POLICY_FILES = {"final": "policy", "best": "best_policy"}
