"""Tables on the terminal and in Markdown: the first row is the head, text stands left and numbers right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

Table = Sequence[Sequence[str]]  # the head, and a row each
NUMBER = re.compile(r"[-−+<>≤≥≈]?\.?\d|[-–](?!\w)|nan|inf")


def find_number_columns(table: Table) -> list[bool]:
    """Which columns hold numbers: half of their cells begin as one. The first column names its row."""
    number_columns = []
    for i, (_, *cells) in enumerate(zip(*table, strict=True)):
        told = [cell for cell in cells if cell.strip("–- ")]
        number_columns.append(
            i > 0 and bool(told) and 2 * sum(bool(NUMBER.match(c)) for c in told) >= len(told)
        )
    return number_columns


def align_columns(table: Table) -> list[str]:
    """Lines for a terminal."""
    right = find_number_columns(table)
    widths = [max(map(count_columns, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            pad_cell(cell, width, number) for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    ]


def pad_cell(cell: str, width: int, number: bool) -> str:
    space = " " * (width - count_columns(cell))
    return space + cell if number else cell + space


def count_columns(text: str) -> int:
    """Columns of a terminal: none for a combining hat, two for a Chinese character."""
    return sum(0 if combining(c) else 1 + (east_asian_width(c) in "WF") for c in text)


def format_markdown_table(table: Table) -> str:
    head, *body = [" | ".join(map(escape_cell, row)) for row in table]
    rule = "|".join("---:" if number else "---" for number in find_number_columns(table))
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in body)])


def escape_cell(text: str) -> str:
    return text.replace("|", "\\|")
