"""What a picture shows, as data: curves over a common axis, or a value a row. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Numbers: TypeAlias = "Sequence[float] | np.ndarray"


@dataclass(frozen=True)
class Series:
    """Points (x, y), joined by a line unless ``points``.

    ``error``: half of an interval through each point; ``low`` and ``high``: the ends of a band; ``dashed``:
    what is expected; ``bare``: a line without its points; ``number``: whose colour, its place unless given.
    """

    label: str
    x: Numbers
    y: Numbers
    error: Numbers = ()
    points: bool = False
    dashed: bool = False
    bare: bool = False
    low: Numbers = ()
    high: Numbers = ()
    number: int | None = None


@dataclass(frozen=True)
class Lines:
    """Curves over a common axis. ``limits``: of y, where the curves' own ends are not what is wanted."""

    title: str
    across: str  # what x is
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bar:
    """A value with its interval: half of it as ``error``, or both ``ends``."""

    label: str
    value: float
    error: float = 0.0
    exact: float | None = None  # marked by a diamond
    ends: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        return self.ends or (self.value - self.error, self.value + self.error)


@dataclass(frozen=True)
class Bars:
    """A value a row, top to bottom: a bar from zero, or on a logarithmic axis, which has no zero, a point."""

    title: str
    across: str
    bars: Sequence[Bar]
    log: bool = False
    marked: str = "exact"  # what a diamond is


Panel = Lines | Bars
