"""Names: of functions one meaning each, that a search leads to; of locals what they hold."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "pgrun"
CONTRACTS = {"main", "read"}  # of console scripts; of the laboratory's experiments
ONE_WORD = 40  # mathematics, the door from Python, what a kernel or argparse calls by its name


@cache
def functions() -> dict[str, list[str]]:
    """name → the modules that define it."""
    collected = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
                collected[node.name].append(path.relative_to(ROOT).as_posix())
    return collected


def test_a_name_is_one_function() -> None:
    shared = {name: where for name, where in functions().items() if len(where) > 1}
    assert {name: where for name, where in shared.items() if name not in CONTRACTS} == {}


def test_names_say_what_is_done_to_what() -> None:
    """A verb and its object; the laboratory's experiments are content."""
    places = [(name, place) for name, where in functions().items() for place in where]
    short = [x for x in places if "_" not in x[0] and "/experiments/" not in x[1] and x[0] not in CONTRACTS]
    assert len(short) <= ONE_WORD, short


def test_locals_say_what_they_hold() -> None:
    """``found`` could be anything."""
    places = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            bound = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "found"
            if bound or (isinstance(node, ast.arg) and node.arg == "found"):
                places.append(f"{path.relative_to(ROOT).as_posix()}:{node.lineno}")
    assert places == []
