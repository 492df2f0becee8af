"""Experiments with policy gradients: the command ``pgrun``, and the same from Python.

What is named here is loaded when it is first used: ``import pgrun`` itself loads neither torch nor Hydra.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Diverged",
    "EnvironmentFault",
    "InvalidCommand",
    "OwnCodeFault",
    "PlayResult",
    "RunResult",
    "StudyResult",
    "load",
    "load_runs",
    "study",
    "train",
]

if TYPE_CHECKING:
    from pgrun.api.commands import study, train
    from pgrun.api.play import PlayResult
    from pgrun.api.records import RunResult, StudyResult, load, load_runs
    from pgrun.errors import Diverged, EnvironmentFault, InvalidCommand, OwnCodeFault

MODULES = {
    "train": "pgrun.api.commands",
    "study": "pgrun.api.commands",
    "load": "pgrun.api.records",
    "load_runs": "pgrun.api.records",
    "PlayResult": "pgrun.api.play",
    "RunResult": "pgrun.api.records",
    "StudyResult": "pgrun.api.records",
    "InvalidCommand": "pgrun.errors",
    "EnvironmentFault": "pgrun.errors",
    "Diverged": "pgrun.errors",
    "OwnCodeFault": "pgrun.errors",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        hint = "pgrun.train('algo=ppo env=CartPole-v1') trains, and dir(pgrun) lists what there is"
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {hint}")
    return getattr(importlib.import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
