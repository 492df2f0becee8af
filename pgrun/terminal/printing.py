"""What the terminal shows at the end of a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pgrun.config.paths import where_typed
from pgrun.errors import escape_line, escape_lines


def say(text: str, error: bool = False) -> None:
    """Printed, unless nobody reads any more (``pgrun … | head``): what is done stays done.

    Every text that may come from a file goes this way: a terminal obeys what is in it otherwise. ``error``:
    to stderr.
    """
    stream = sys.stderr if error else sys.stdout
    try:
        print(escape_lines(text), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def shortest(folder: Path) -> str:
    """Relative to where the user stands, if it is below; to be shown, not opened."""
    here = where_typed()
    return escape_line(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
