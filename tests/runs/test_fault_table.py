"""Each line of the table of faults in docs/resume.md names a test that shows it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "resume.md"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def lines_of_faults() -> list[str]:
    """The rows of the table, without its head."""
    section = PAGE.read_text().partition("## Faults, and how to go on")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def functions_in(file: Path) -> set[str]:
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_a_test_that_exists() -> None:
    rows = lines_of_faults()
    assert len(rows) >= 20
    for row in rows:
        *cells, shown_by = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 3, row
        assert all(cells), row
        named = NAMED.fullmatch(shown_by)
        assert named, row
        file, name = named.groups()
        assert name in functions_in(TESTS / file), row
