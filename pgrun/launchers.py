"""Hydra launchers that are packages of their own, and the presets of them in conf/hydra/launcher."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from pgrun.words import Word

EXTRAS = {"parallel": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher"}
NEEDS = {
    "joblib": "parallel",
    "parallel": "parallel",
    "submitit_local": "slurm",
    "local": "slurm",
    "submitit_slurm": "slurm",
    "slurm": "slurm",
}


def lacking(words: Sequence[Word]) -> Iterator[str]:
    """What a sweep's launcher needs and is not here."""
    for word in words:
        extra = NEEDS.get(str(word.value)) if word.key == "hydra.launcher" else None
        if extra and not installed(EXTRAS[extra]):
            command = f'pip install -c constraints.txt -e ".[{extra}]"'
            yield f"{word.shown}: a package is missing; the extra brings it: {command}"
        elif extra and str(word.value).endswith("slurm") and shutil.which("srun") is None:
            yield f"{word.shown}: no srun here: hand the sweep to Slurm from a machine that has it"


def installed(plugin: str) -> bool:
    return find_spec("hydra_plugins") is not None and find_spec(f"hydra_plugins.{plugin}") is not None
