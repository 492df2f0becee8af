"""Command lines with options (``pgrun-compare`` and its like), refused in one
paragraph as ``pgrun``'s words are.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from pgrun import __version__
from pgrun.config.schema import LARGEST, fit_scalar
from pgrun.errors import InvalidCommand


class Options(argparse.ArgumentParser):
    """Those of one command."""

    def __init__(self, name: str, about: str, examples: str) -> None:
        super().__init__(
            prog=name,
            description=about,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"{name} {__version__}")

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """Raises ``InvalidCommand``, also for a blank word: an empty path would be the current folder."""
        for word in args:
            if not word.strip() or re.fullmatch(r"--[\w-]+=\s*", word):
                raise InvalidCommand(
                    word if word.strip() else repr(word),
                    None,
                    "a name or a value is missing",
                    f"{self.prog} --help says more",
                )
        return super().parse_args(args)

    def error(self, message: str) -> NoReturn:
        raise InvalidCommand(message, None, "", f"{self.prog} --help says more")


def integer_at_least(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """An integer of that size; ``1e5`` is one too, and none is rounded."""
    allowed = f"≥ {least}" if most == LARGEST else f"in [{least}, {most}]"

    def read_integer(text: str) -> int:
        try:
            given = int(text) if re.fullmatch(r"[+-]?[0-9]{1,30}", text) else float(text)
            value: int = fit_scalar(given, int)
        except ValueError as error:
            hint = " and below 2^63" if "2^63" in str(error) else ""
            raise argparse.ArgumentTypeError(f"{text}: must be an integer {allowed}{hint}") from error
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text}: must be an integer {allowed}")
        return value

    return read_integer
