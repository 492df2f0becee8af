"""What ends a command in one short paragraph, without a traceback (``PGRUN_DEBUG=1`` shows it)."""

from __future__ import annotations

LONGEST = 700  # characters of one line of it
MOST = 20  # lines


class Told(Exception):
    """Speaks for itself. Whatever the user typed into it, it stays short and printable."""

    def __init__(self, text: str):
        super().__init__(bounded(text))


class Refused(Told):
    """The user's mistake, exit code 2. Says what was given, what is allowed, and what to type instead."""


class EnvironmentFault(Told):
    """An environment did what nothing can be learned from, exit code 1. Says which one, and in which episode and step."""


class Diverged(EnvironmentFault):
    """Numbers that an update made are NaN or infinite, exit code 1. Says which, at which step, and what to try."""


def bounded(text: str) -> str:
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in text.split("\n")]
    short = [
        line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        for line in lines
    ]
    return "\n".join(short if len(short) <= MOST else [*short[:MOST], f"  … and {len(short) - MOST} more"])
