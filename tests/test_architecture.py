"""The layout is the architecture: imports go down, and there are no circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "pgrun"

# From the bottom up, the way of the data. What stands on one line may not import each other.
LAYERS = [
    "errors types stateless atomic_files kernels",
    "returns config presentation",
    "terminal",
    "envs",
    "policies",
    "rollouts variance exact optimization",
    "critics",
    "algorithms",
    "compiled",
    "diagnostics",
    "storage",
    "training",
    "analysis",
    "command",
    "runs",
    "cli",
    "tools",
    "api",
    "__main__",
]
LEVEL = {name: level for level, line in enumerate(LAYERS) for name in line.split()}
ALLOWED: dict[tuple[str, str], str] = {}  # (importer, imported) → why it may look up


def find_modules(root: Path = ROOT) -> dict[str, Path]:
    """``envs.vector`` → its file; a package is its ``__init__``."""
    modules = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def find_imports(text: str, modules: set[str]) -> Iterator[str]:
    """The modules of pgrun that a file imports, anywhere in it; ``TYPE_CHECKING`` counts too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pgrun":
            base = node.module.removeprefix("pgrun").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield inner if inner in modules else base
        elif isinstance(node, ast.Import):
            yield from (
                a.name.removeprefix("pgrun").lstrip(".") for a in node.names if a.name.startswith("pgrun")
            )


@cache
def import_edges() -> frozenset[tuple[str, str]]:
    modules = find_modules()
    names = set(modules)
    return frozenset(
        (name, target)
        for name, path in modules.items()
        for target in find_imports(path.read_text(), names)
        if target not in (name, "")
    )


def find_upward(edges: Set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Imports of a higher layer, or across one."""

    def top(module: str) -> str:
        return module.split(".")[0]

    return sorted(
        edge
        for edge in edges
        if edge[0] and top(edge[0]) != top(edge[1]) and LEVEL[top(edge[1])] >= LEVEL[top(edge[0])]
    )


def find_circles(edges: Set[tuple[str, str]]) -> list[set[str]]:
    """Groups of modules that reach each other (Tarjan 1972 would be faster; this is a few hundred nodes)."""
    after: dict[str, set[str]] = {}
    for source, target in edges:
        after.setdefault(source, set()).add(target)

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in after.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    reached = {module: reach(module) for module in after}
    circles: list[set[str]] = []
    for module in sorted(after):
        if module in reached[module] and not any(module in circle for circle in circles):
            circles.append({other for other in reached[module] if module in reached.get(other, ())})
    return circles


def test_every_entry_has_a_layer() -> None:
    entries = {name.split(".")[0] for name in find_modules() if name}
    assert entries - set(LEVEL) == set()
    assert set(LEVEL) - entries == set()


def test_imports_go_down() -> None:
    assert [edge for edge in find_upward(import_edges()) if edge not in ALLOWED] == []


def test_no_circles() -> None:
    assert find_circles(import_edges()) == []


@pytest.mark.parametrize(
    ("edge", "upward", "circle"),
    [
        (("envs.vector", "training.loop"), True, True),
        (("policies.policy", "critics.base"), True, True),
        (("variance.leave_out", "variance.base"), False, True),
        (("types", "returns"), True, False),
    ],
)
def test_negative_controls(edge: tuple[str, str], upward: bool, circle: bool) -> None:
    """An import that goes up, or round, is found."""
    edges = import_edges() | {edge}
    assert (edge in find_upward(edges)) == upward
    assert any(set(edge) <= one for one in find_circles(edges)) == circle
