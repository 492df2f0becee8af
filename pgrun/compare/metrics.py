"""metrics.csv as columns, as far as it can be read."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pgrun.store.whole import read

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
        """(environment steps, seconds) until an evaluation first reaches ``threshold``; infinite where none does.

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
    """The columns in ``wanted``. Lines that are cut are left out and counted in the note."""
    try:
        lines = read(path, links=True).decode(errors="replace").splitlines(keepends=True)
    except OSError:
        return Metrics(note="no metrics.csv")
    cut = bool(lines) and not lines[-1].endswith("\n")  # its last number may have lost digits
    header, *rows = parsed(lines[:-1] if cut else lines)
    if not header or header[0] != "env_steps":
        return Metrics(note="metrics.csv has no header" if lines else "metrics.csv is empty")
    whole = [row for row in rows if len(row) == len(header) and number(row[0]) >= 0]
    wanted = [tag for tag in wanted if tag in header]
    columns = list(zip(*whole, strict=True)) or [()] * len(header)
    steps = numbers(columns[0])
    kept = not_repeated(steps)
    values = {tag: numbers(columns[header.index(tag)])[kept] for tag in wanted}
    bad = len(rows) - len(whole) + cut
    note = f"{bad} line{'s' * (bad > 1)} of metrics.csv cut" if bad else ""
    return Metrics(steps[kept], values, tuple(header[1:]), note)


def parsed(lines: Sequence[str]) -> list[list[str]]:
    """A header, empty if there is none, and rows."""
    try:
        return list(csv.reader(lines)) or [[]]
    except csv.Error:
        return [[]]


def number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def numbers(cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array([float(cell) if cell else math.nan for cell in cells])
    except ValueError:
        return np.array([number(cell) for cell in cells])


def not_repeated(steps: np.ndarray) -> np.ndarray:
    """Which rows stand: what was written again, after a resume, replaces what it repeats."""
    if not len(steps):
        return np.empty(0, bool)
    following = np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.inf)
    return steps < following
