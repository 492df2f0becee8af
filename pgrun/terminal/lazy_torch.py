"""torch, loaded when it is first used: its two seconds are not for a command that is about to be refused."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from pgrun.terminal.collector import leave_what_is_there, spare_collector
from pgrun.terminal.interrupts import holding_interrupts


class Unloaded(ModuleType):
    """What ``import torch`` binds; the first look at what is in it loads it, in place.

    Python's own ``LazyLoader`` loads at the second ``import`` statement already, which reads ``__spec__``.
    """

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__path__ = list(spec.submodule_search_locations or ())
        with holding_interrupts():
            spec.loader.exec_module(self)
        leave_what_is_there()
        return getattr(self, name)


def load_torch_lazily() -> None:
    """``import torch`` binds a name from now on, and the collector is spared until torch is loaded.

    Nothing happens where it is loaded already, or not installed.
    """
    spec = None if "torch" in sys.modules else find_spec("torch")
    if spec is None:
        return
    sys.modules["torch"] = module = module_from_spec(spec)
    del module.__path__  # so that ``import torch.nn`` loads torch first
    module.__class__ = Unloaded
    spare_collector()
