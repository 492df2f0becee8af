"""Hydra launchers and the engine of searches, which are packages of their own; presets are in conf/hydra."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from pgrun.command.overrides import CliOverride
from pgrun.config.pages import install_command
from pgrun.errors import Mistake

EXTRAS = {
    "parallel": "hydra_plugins.hydra_joblib_launcher",
    "slurm": "hydra_plugins.hydra_submitit_launcher",
    "search": "optuna",
}
NEEDS = {
    "joblib": "parallel",
    "parallel": "parallel",
    "submitit_local": "slurm",
    "local": "slurm",
    "submitit_slurm": "slurm",
    "slurm": "slurm",
}
ENGINES = {"optuna": "search"}


def find_missing_launchers(words: Sequence[CliOverride]) -> Iterator[Mistake]:
    """What a sweep's launcher or sweeper needs and is not here."""
    for word in words:
        options = {"hydra.launcher": NEEDS, "hydra.sweeper": ENGINES}.get(word.key, {})
        extra = options.get(str(word.value))
        if extra and not is_installed(EXTRAS[extra]):
            yield Mistake(
                word.shown, None, f"a package is missing; the extra brings it: {install_command(extra)}"
            )
        elif extra and str(word.value).endswith("slurm") and shutil.which("srun") is None:
            yield Mistake(
                word.shown, None, "no srun here", "hand the sweep to Slurm from a machine that has it"
            )


def is_installed(package: str) -> bool:
    above = package.rpartition(".")[0]
    return (not above or find_spec(above) is not None) and find_spec(package) is not None
