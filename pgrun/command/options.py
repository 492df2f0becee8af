"""Command lines with options (``pgrun-compare`` and its like), refused in one paragraph as ``pgrun``'s words are."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from pgrun import __version__
from pgrun.errors import Refused


class Options(argparse.ArgumentParser):
    """``missing``: what to say where no run is named."""

    def __init__(self, name: str, about: str, examples: str, missing: str = "") -> None:
        super().__init__(
            prog=name,
            description=about,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.missing = missing
        self.add_argument("--version", action="version", version=f"{name} {__version__}")

    def error(self, message: str) -> NoReturn:
        if "arguments are required" in message:
            message = self.missing
        raise Refused(f"{message}; {self.prog} --help says more")


def at_least(least: int) -> Callable[[str], int]:
    """An integer of that size; ``1e5`` is one too."""

    def whole(text: str) -> int:
        try:
            value = float(text)
        except ValueError:
            value = least - 0.5
        if not value.is_integer() or value < least:
            raise argparse.ArgumentTypeError(f"{text}: must be an integer ≥ {least}")
        return int(value)

    return whole
