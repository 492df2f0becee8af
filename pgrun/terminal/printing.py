"""What the terminal shows."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from enum import Enum
from pathlib import Path
from typing import TextIO

from pgrun.config.paths import where_typed
from pgrun.errors import escape_line, escape_lines

WIDTH = 110  # characters of a line of prose, at most
NARROWEST = 40
GAP = re.compile(r"(?<=\S) {2,}(?=\S)")  # between the columns of a table or a list
CELL = 30  # characters: columns that are narrower on average are those of a table
COMMAND = re.compile(r"\s*(pgrun(-\w+)?|tensorboard) ")


class Tone(Enum):
    """What a line is, by the colour of its first words."""

    PLAIN = ""
    WARNING = "33"  # yellow
    ERROR = "1;31"  # red


def say(text: str, error: bool = False, tone: Tone | None = None) -> None:
    """Printed, unless nobody reads any more (``pgrun … | head``): what is done stays done.

    Every text that may come from a file goes this way: a terminal obeys what is in it otherwise. ``error``:
    to stderr, as a warning unless ``tone`` says what it is.
    """
    stream = sys.stderr if error else sys.stdout
    tone = tone or (Tone.WARNING if error else Tone.PLAIN)
    try:
        print(dress_text(escape_lines(text), stream, tone, wrapped=error), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def dress_text(text: str, stream: TextIO, tone: Tone, wrapped: bool) -> str:
    """A text as this stream gets it: as it is, unless that is a terminal."""
    if not stream.isatty():
        return text
    wrap = wrap_line if wrapped else wrap_listed
    lines = [wrap(line, terminal_width()) for line in text.split("\n")]
    if shows_colour():
        lines[:1] = [paint_start(lines[0], tone)]
        lines = [paint_start(line, Tone.WARNING) if line.startswith("warning: ") else line for line in lines]
    return "\n".join(lines)


def wrap_line(line: str, width: int) -> str:
    """On several lines where it is too long, the later ones further in; words stay whole."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    wrapped = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapped) if len(line) > width else line


def wrap_listed(line: str, width: int) -> str:
    """``wrap_line``, but a row of a table and a command, which may be copied, stay as they are.

    What stands in a list's last column goes on below its beginning.
    """
    gaps = list(GAP.finditer(line))
    is_row = len(gaps) > 1 and len(line) < CELL * (len(gaps) + 1)
    if len(line) <= width or is_row or COMMAND.match(line):
        return line
    begins = max((gap.end() for gap in gaps if gap.end() <= width // 2), default=0)
    if not begins:
        return wrap_line(line, width)
    lines = textwrap.wrap(line[begins:], width - begins, break_long_words=False, break_on_hyphens=False)
    return line[:begins] + ("\n" + " " * begins).join(lines)


def paint_start(line: str, tone: Tone) -> str:
    """The words up to the first colon, ``pgrun:`` mostly."""
    start, colon, rest = line.partition(": ")
    return f"\x1b[{tone.value}m{start}{colon}\x1b[0m{rest}" if colon and tone.value else line


def shows_colour() -> bool:
    """As https://no-color.org asks; the terminal has been looked at before."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int:
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, NARROWEST)


def text_width(stream: TextIO | None = None) -> int:
    """Of a line of prose: that of the terminal, where it is narrower than ours."""
    stream = stream or sys.stdout
    return min(WIDTH, terminal_width()) if stream.isatty() else WIDTH


def shorten_folder(folder: Path) -> str:
    """Relative to where the user stands, if it is below; to be shown, not opened."""
    here = where_typed()
    return escape_line(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
