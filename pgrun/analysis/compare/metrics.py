"""metrics.csv as columns, as far as it can be read."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pgrun.atomic_files import read_bytes

SPEED = "time/env_steps_per_second"
EVAL = "return/eval"


@dataclass(frozen=True)
class Metrics:
    """Rows in the order of ``steps`` [R]; a blank is NaN. ``tags``: every column that the file has."""

    steps: np.ndarray = field(default_factory=lambda: np.empty(0))
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def last(self) -> int:
        return int(self.steps[-1]) if len(self.steps) else 0

    def track(self, tag: str) -> tuple[np.ndarray, np.ndarray]:
        """(env_steps, values) of the rows that have a value."""
        values = self.columns.get(tag, np.full(len(self.steps), np.nan))
        there = ~np.isnan(values)
        return self.steps[there], values[there]

    def reaches(self, threshold: float) -> tuple[float, float]:
        """(environment steps, seconds) until an evaluation first reaches
        ``threshold``; infinite where none does.

        Seconds are of collecting, updating and logging, since ``SPEED`` is steps ÷ seconds from the start.
        """
        evaluations = self.columns.get(EVAL, np.empty(0))
        rows = np.flatnonzero(evaluations >= threshold)
        if not len(rows):
            return math.inf, math.inf
        steps = float(self.steps[rows[0]])
        speed = self.columns.get(SPEED, np.full(len(self.steps), np.nan))[rows[0]]
        return steps, steps / speed if speed > 0 else math.nan


def read_metrics(path: Path, wanted: Iterable[str]) -> Metrics:
    """The columns in ``wanted``.

    Lines that are cut are left out and counted in the note. Raises ``TooLarge``.
    """
    try:
        content = read_bytes(path, links=True)
    except OSError:
        return Metrics(note="no metrics.csv")
    end = content.rfind(b"\n") + 1  # a last line without it may have lost digits
    cut = end < len(content)
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(content[:end]), "utf-8", "replace", newline=""))
    try:
        header = next(lines, [])
        if not header or header[0] != "env_steps":
            return Metrics(note="metrics.csv has no header" if content else "metrics.csv is empty")
        columns, bad = read_columns(lines, header, [tag for tag in wanted if tag in header])
    except csv.Error:
        return Metrics(note="metrics.csv has no header")
    bad += cut
    steps = columns.pop("env_steps")
    kept = find_last_written_rows(steps)
    note = f"{bad} line{'s' * (bad > 1)} of metrics.csv cut" if bad else ""
    return Metrics(
        steps[kept], {tag: values[kept] for tag, values in columns.items()}, tuple(header[1:]), note
    )


def read_columns(
    lines: Iterator[list[str]], header: Sequence[str], wanted: Sequence[str]
) -> tuple[dict[str, np.ndarray], int]:
    """(``env_steps`` and the columns in ``wanted``, how many rows are none).

    Cells that nobody asked for are not kept.
    """
    places = {tag: header.index(tag) for tag in ("env_steps", *wanted)}
    columns: dict[str, array[float]] = {tag: array("d") for tag in places}
    bad = 0
    for row in lines:
        if len(row) != len(header) or not parse_cell(row[0]) >= 0:
            bad += 1
            continue
        for tag, place in places.items():
            columns[tag].append(parse_cell(row[place]))
    return {tag: np.array(values) for tag, values in columns.items()}, bad


def parse_cell(cell: str) -> float:
    """NaN of a blank."""
    try:
        return float(cell) if cell else math.nan
    except ValueError:
        return math.nan


def find_last_written_rows(steps: np.ndarray) -> np.ndarray:
    """Which rows stand: what was written again, after a resume, replaces what it repeats."""
    if not len(steps):
        return np.empty(0, bool)
    following = np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.inf)
    return steps < following
