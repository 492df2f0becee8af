"""``pgrun play DIR`` is ``pgrun-play DIR``, and so are all commands; ``pgrun version`` and ``pgrun help``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

COMMANDS = {  # imported when they are called; each is a console script of its own too
    "study": "pgrun.tools.study.cli:main",
    "compare": "pgrun.analysis.compare.cli:main",
    "play": "pgrun.tools.play.cli:main",
    "explain": "pgrun.tools.explain.cli:main",
    "doctor": "pgrun.analysis.doctor.cli:main",
    "lab": "pgrun.tools.lab.cli:main",
}
FLAGS = {"version": "--version", "help": "--help"}


def find_subcommand(argv: list[str]) -> Callable[[], None] | None:
    """The main function of the command that the first word names, which will find its own words in
    ``sys.argv``; ``pgrun version`` becomes ``pgrun --version``.
    """
    name = argv[0] if argv else ""
    if name in FLAGS:
        sys.argv[1:] = [FLAGS[name], *argv[1:]]
        return None
    if name not in COMMANDS:
        return None
    module, _, function = COMMANDS[name].partition(":")
    sys.argv[:] = [f"pgrun-{name}", *argv[1:]]
    called: Callable[[], None] = getattr(importlib.import_module(module), function)
    return called
