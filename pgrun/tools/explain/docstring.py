"""What a class says of itself, for the settings at hand: its docstring is the only
place where its formula is written.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pgrun.config.schema import format_value, setting_kinds
from pgrun.terminal.printing import text_width

WIDTH = 96  # characters of a line, at most
PIECES = re.compile(r"(?<=[.;])(?<!al\.)(?<!eq\.)\s+(?=[^\W\da-z]|``|[∇Σ])")
ABOUT = re.compile(r"^``(\w+)(?:=(\w+))?``")
NAME = r"[A-Z][\w'’-]+"
PLACE = r"(?:eq\. [\d.]*\d|§[\d.]*\d|theorem \d+|lecture [\d.]*\d|algorithm \d+|appendix [A-Z]|C\d+)"
CITED = re.compile(
    rf"(?:{NAME}(?:, {NAME})* & {NAME}|{NAME} et al\.|{NAME}) (?:19|20)\d\d\b(?:(?:, | and ){PLACE})*"
)


def explain_class(cls: Any, given: Mapping[str, Any]) -> list[str]:
    """Paragraphs and formulas (indented) of a docstring, without what it says of
    settings that are off or set otherwise.

    ``name=value`` or ``name`` in backticks at the start of a sentence is what that sentence is about.
    """
    kept: list[str] = []
    dropping = False  # the formula that a dropped sentence announced, and the paragraph that goes on after it
    for block in re.split(r"\n\s*\n", inspect.getdoc(cls) or ""):
        formula = all(line.startswith(" ") for line in block.splitlines())
        if dropping and (formula or block[:1].islower()):
            dropping = formula
            continue
        dropping = False
        if formula:
            kept.append("\n".join(mark_chosen(block, cls, given)))
            continue
        pieces = PIECES.split(" ".join(block.split()))
        live = [piece for piece in pieces if sentence_applies(piece, cls, given)]
        dropping = pieces[-1].endswith(":") and pieces[-1] not in live
        if live:
            kept.append(" ".join(live))
    return [fill_in_values(block, given) for block in kept]


def fill_in_values(text: str, given: Mapping[str, Any]) -> str:
    """Without backticks; the name of a setting with its value."""
    named = re.sub(
        r"``(\w+)``", lambda m: f"{m[1]}={format_value(given[m[1]])}" if m[1] in given else m[1], text
    )
    return named.replace("``", "")


def find_setting_sentence(cls: Any, name: str, given: Mapping[str, Any]) -> str:
    """The sentence of a docstring about one setting."""
    text = " ".join((inspect.getdoc(cls) or "").split())
    sentences = (part for part in PIECES.split(text) if part.startswith(f"``{name}``"))
    return fill_in_values(next(sentences, ""), given)


def sentence_applies(sentence: str, cls: Any, given: Mapping[str, Any]) -> bool:
    match = ABOUT.match(sentence)
    if match is None or match[1] not in given:
        return True
    value = given[match[1]]
    return format_value(value) == match[2] if match[2] else value is not None and value is not False


def mark_chosen(block: str, cls: Any, given: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a block; where they are the choices of a setting, a mark before the chosen one."""
    kinds = setting_kinds(cls) if hasattr(cls, "__dataclass_fields__") else {}
    choices = {
        str(choice): name
        for name, kind in kinds.items()
        if get_origin(kind) is Literal and name in given
        for choice in get_args(kind)
    }
    for line in textwrap.dedent(block).splitlines():
        name = choices.get(line.split(" ")[0])
        chosen = name is not None and line.split(" ")[0] == str(given[name])
        yield f" {'▸' if chosen else ' '} {line}"


def find_citations(paragraphs: list[str]) -> list[str]:
    """``Schulman et al. 2016, eq. 16``"""
    return list(dict.fromkeys(CITED.findall(" ".join(" ".join(paragraphs).split()))))


def page_width() -> int:
    """Ours, or the terminal's where it is narrower."""
    return min(WIDTH, text_width())


INDENT = "  "


def wrap_paragraph(text: str) -> str:
    """A paragraph in the terminal's width; a formula line by line."""
    if not text.startswith(" "):
        filled = textwrap.fill(
            text, page_width(), initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False
        )
        return filled.replace("\N{NO-BREAK SPACE}", " ")
    deep = INDENT + " " * 8
    lines = (
        textwrap.wrap(
            line[1:], page_width(), initial_indent=INDENT, subsequent_indent=deep,
            break_on_hyphens=False, replace_whitespace=False,
        )
        for line in text.splitlines()
    )  # fmt: skip
    return "\n".join(part for line in lines for part in line)
