"""Where the configuration lies. Imports nothing heavy: ``--help`` and ``--version`` need it at once."""

from __future__ import annotations

from pathlib import Path


def conf_dir() -> Path:
    """conf/ beside this file in a wheel, one level up in a checkout."""
    here = Path(__file__).resolve().parent
    return next(place for place in (here / "conf", here.parent / "conf") if place.is_dir())


# names in a run directory, of a .json and a .safetensors
POLICY_FILES = {"final": "policy", "best": "best_policy"}
