"""Where runs come from: when they ended, what they were made with, what was typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import prod

from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.read_runs import Run, order_by_number
from pgrun.errors import escape_line

SHOWN = ("pgrun", "torch", "gymnasium", "python")
MOST = 12  # commands that are written out


def find_provenance(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """(what, text) of each line, from the runs alone, so that the same runs make the same page."""
    runs = [run for group in groups for run in group.runs]
    return [
        ("runs", format_days(runs)),
        *format_versions(runs),
        *(("command", c) for c in find_commands(runs)),
    ]


def format_days(runs: Sequence[Run]) -> str:
    times = [datetime.fromtimestamp(run.written, UTC) for run in runs]
    first, last = (f"{time:%Y-%m-%d %H:%M}" for time in (min(times), max(times)))
    return f"{len(runs)}, written {first} UTC" + ("" if first == last else f" to {last} UTC")


def format_versions(runs: Iterable[Run]) -> Iterator[tuple[str, str]]:
    versions = dict.fromkeys(
        ", ".join(f"{name} {run.versions[name]}" for name in SHOWN if name in run.versions) for run in runs
    )
    texts = [escape_line(text) for text in versions if text]
    if texts:
        yield "versions", "; ".join(texts)


def find_commands(runs: Sequence[Run]) -> list[str]:
    """One command where the runs are a whole sweep: every value of a key with every value of the others.

    One with gaps where they set the same keys, as the trials of a search do. Otherwise each run's own, up to
    a number of them.
    """
    jobs = sorted(runs, key=lambda run: (str(run.folder.parent), order_by_number(run.folder.name)))
    typed = list(dict.fromkeys(run.words for run in jobs if run.words))
    if not typed:
        return []
    keys = [tuple(word.partition("=")[0] for word in words) for words in typed]
    if len(set(keys)) == 1:
        values = [list(dict.fromkeys(column)) for column in zip(*typed, strict=True)]
        if prod(map(len, values)) == len(typed):
            words = [",".join([first, *(w.partition("=")[2] for w in more)]) for first, *more in values]
            return [format_command([*(["-m"] if len(typed) > 1 else []), *words])]
        return [f"{format_gaps(values)}   ({len(typed)} commands; … as in the table)"]
    shown = [format_command(words) for words in typed[:MOST]]
    return [*shown, f"and {len(typed) - MOST} more"] if len(typed) > MOST else shown


def format_gaps(values: Sequence[Sequence[str]]) -> str:
    """The command of all, ``…`` where they differ."""
    words = (w[0] if len(w) == 1 else f"{w[0].partition('=')[0]}=…" for w in values)
    return escape_line(" ".join(["pgrun", *(w if w.endswith("=…") else shlex.quote(w) for w in words)]))


def format_command(words: Sequence[str]) -> str:
    return escape_line(f"pgrun {shlex.join(words)}")
