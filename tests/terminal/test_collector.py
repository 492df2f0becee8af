"""The collector's rhythm in a command's own process, and in one that is not."""

from __future__ import annotations

import gc
import subprocess
import sys

LOADS_TORCH = """
import gc, sys
usual = gc.get_threshold()
from pgrun.terminal.lazy_torch import load_torch_lazily
load_torch_lazily()
import torch
before = gc.get_threshold()
torch.ones(1)
print(usual[0] < before[0], gc.get_threshold() == usual, gc.get_freeze_count() > 100_000)
"""


def test_imports_are_not_looked_through_and_a_run_is() -> None:
    told = subprocess.run([sys.executable, "-c", LOADS_TORCH], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "True", "True"]


def test_a_process_that_has_loaded_torch_keeps_its_rhythm() -> None:
    import torch  # noqa: F401

    from pgrun.terminal.lazy_torch import load_torch_lazily

    before = gc.get_threshold(), gc.get_freeze_count()
    load_torch_lazily()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
