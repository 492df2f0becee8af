"""Experiments with policy gradients: the command ``pgrun``, and the same from Python.

What is named here is loaded when it is first used: ``import pgrun`` itself loads neither torch nor Hydra.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Diverged",
    "EnvironmentFault",
    "Refused",
    "RunResult",
    "StudyResult",
    "load",
    "load_runs",
    "study",
    "train",
]

if TYPE_CHECKING:
    from pgrun.api.commands import study, train
    from pgrun.api.records import RunResult, StudyResult, load, load_runs
    from pgrun.errors import Diverged, EnvironmentFault, Refused

MODULES = {
    "train": "pgrun.api.commands",
    "study": "pgrun.api.commands",
    "load": "pgrun.api.records",
    "load_runs": "pgrun.api.records",
    "RunResult": "pgrun.api.records",
    "StudyResult": "pgrun.api.records",
    "Refused": "pgrun.errors",
    "EnvironmentFault": "pgrun.errors",
    "Diverged": "pgrun.errors",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return __getattr__(self.__name__.rpartition(".")[2])(*args, **kwargs)


class Package(ModuleType):
    """While ``pgrun.training.loop`` and ``pgrun.tools.study`` are modules too: importing them puts them where the functions are."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in MODULES and isinstance(value, ModuleType):
            value.__class__ = CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package
