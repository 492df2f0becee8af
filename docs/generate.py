"""Write what the documentation takes from the code: ``python docs/generate.py``; a test compares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pgrun.command.compose import compose_one, composing
from pgrun.command.foreign_answers import ForeignWord, answer_row, quote_words, spell
from pgrun.command.foreign_names import FOREIGN_NAMES, FOREIGN_OPTIONS, TAGS, TOOLS, ForeignName
from pgrun.command.overrides import CliOverride

DOCS = Path(__file__).parent


@cache
def settings_of(context: str) -> dict[str, Any]:
    with composing():
        return compose_one([CliOverride.read(word) for word in context.split()], False, 0).settings


def typed_there(name: str, example: str) -> str:
    """A name with its value, as its tool takes it."""
    if not example:
        return name if name.startswith("-") else f"{name}=true"
    return f"{name} {quote_words(example)}" if name.startswith("-") else f"{name}={quote_words(example)}"


def answer_example(row: ForeignName, name: str) -> tuple[str, str]:
    """(the words here, the note) for a row's own example."""
    word = ForeignWord(name, spell(name), row.example)
    return answer_row(row, word, settings_of(row.context), {word.name: row.example})


def tool_rows(field: str) -> Iterator[str]:
    for row in FOREIGN_NAMES:
        if names := row.names(field):
            words, note = answer_example(row, names[0])
            first, *more = (typed_there(names[0], row.example), *(f"`{name}`" for name in names[1:]))
            here = f"`{quote_words(words)}`" if words else "–"
            notes = [*([f"with `{row.context}`"] if row.context else []), *([note] if note else [])]
            yield f"| {', '.join([f'`{first}`', *more])} | {here} | {'; '.join(notes).replace('|', ', ')} |"


def tool_table(field: str) -> str:
    return "\n".join(["| there | here | |", "|---|---|---|", *tool_rows(field)])


def option_table() -> str:
    lines = ["| there | here |", "|---|---|"]
    for group, names in FOREIGN_OPTIONS.items():
        for name, words in names.items():
            lines.append(f"| `{group}={name}` | `{words}` |")
    return "\n".join(lines)


def tag_table() -> str:
    head = ["here", *TOOLS.values()]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for tag, *theirs in TAGS:
        cells = [f"`{tag}`", *(f"`{name}`" if name else "" for name in theirs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fill_marks(text: str, tables: dict[str, str]) -> str:
    """The text with each table between its marks, ``<!-- NAME -->`` and ``<!-- end -->``."""

    def put(match: re.Match[str]) -> str:
        return f"{match[1]}\n{tables[match[2]]}\n{match[3]}"

    return re.sub(r"(<!-- (\w+) -->)\n.*?(<!-- end -->)", put, text, flags=re.S)


def coming_from() -> str:
    tables = {field: tool_table(field) for field in TOOLS}
    tables |= {"options": option_table(), "tags": tag_table()}
    return fill_marks((DOCS / "coming-from.md").read_text(), tables)


PAGES = {"coming-from.md": coming_from}


def main() -> None:
    for name, write in PAGES.items():
        (DOCS / name).write_text(write())


if __name__ == "__main__":
    main()
