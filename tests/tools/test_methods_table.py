"""The table of docs/methods/README.md is what its script computes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

METHODS = Path(__file__).parents[2] / "docs" / "methods"
SOME = (
    *("mean_baseline", "td0, V 20 % high", "action_baseline, corrected=false", "all_actions"),
    *("td0, critic=vine, K = 4", "old data, per_decision", "old data, retrace"),
    "storm_pg, α = 0.2, a step after ∇J",
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(METHODS))
    yield importlib.import_module("table")
    sys.modules.pop("table", None)


def test_some_rows_are_as_written(script: ModuleType) -> None:
    written = (METHODS / "README.md").read_text()
    grad = torch.is_grad_enabled()
    try:
        rows = script.make_rows(SOME, {name: script.make_world(name) for name in script.PROBLEMS})
    finally:
        torch.set_grad_enabled(grad)
    for row in rows:
        assert row in written, "run python docs/methods/table.py"
    assert rows[0].startswith("| mean_baseline | no | 0.25 | 0.25 | 0.25 |"), "1/N"


def test_every_row_is_there(script: ModuleType) -> None:
    written = (METHODS / "README.md").read_text()
    assert all(f"\n| {name} | " in written for name in (*script.SCHEMES, *script.OLD_DATA))
