"""The functions that a console command names are there, and of the types that their callers go by."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from omegaconf import DictConfig

from pgrun.command import app
from pgrun.command.app import PGRUN, App, Entry
from pgrun.errors import Mistake
from pgrun.tools.explain.cli import EXPLAIN
from pgrun.tools.study.cli import STUDY

TYPES = get_type_hints(App, {**vars(app), "DictConfig": DictConfig, "Mistake": Mistake})


def find_wrong_types(one: App, field: str) -> Iterator[str]:
    """Where the function of an entry takes or gives something else than ``App`` says."""
    entry = getattr(one, field)
    (kind,) = [kind for kind in [TYPES[field], *get_args(TYPES[field])] if get_origin(kind) is Entry]
    taken, given = get_args(kind)
    function = entry.load()
    parameters = list(inspect.signature(function).parameters.values())
    hints = get_type_hints(function, {**vars(sys.modules[function.__module__]), "Job": Any})
    needed = [p for p in parameters if p.default is p.empty]
    if not len(needed) <= len(taken) <= len(parameters):
        yield f"{entry.name} takes {parameters}"
    kinds = [hints[p.name] for p in parameters[: len(taken)]]
    for there, wanted in zip([*kinds, hints["return"]], [*taken, given], strict=True):
        if wanted is not Any and wanted != there and get_origin(wanted) is not Union:
            yield f"{entry.name}: {there}, not {wanted}"


@pytest.mark.parametrize("one", [PGRUN, STUDY, EXPLAIN], ids=lambda one: one.name)
def test_entries_are_functions_of_the_types_that_are_called(one: App) -> None:
    entries = [f.name for f in dataclasses.fields(App) if isinstance(getattr(one, f.name), Entry)]
    assert len(entries) >= 7
    assert [wrong for field in entries for wrong in find_wrong_types(one, field)] == []


def test_negative_controls() -> None:
    """A name that is not there, and a function of other types."""
    with pytest.raises(AttributeError, match="nothing"):
        Entry[[], None]("pgrun.runs.job:nothing").load()
    other = dataclasses.replace(PGRUN, table=Entry("pgrun.runs.job:read_run_objective"))
    assert len(list(find_wrong_types(other, "table"))) == 2


def test_reading_the_table_imports_no_function_of_it() -> None:
    code = (
        "import sys, pgrun.cli.main; print([m for m in ('torch', 'hydra', 'omegaconf') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
