"""What a picture shows, as data: curves over a common axis, or a value a row. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Numbers: TypeAlias = "Sequence[float] | np.ndarray"
NORMAL_95 = 1.96  # standard errors to either side: the 95 % interval of a normal estimate


@dataclass(frozen=True)
class Series:
    """Points (x, y), joined by a line unless ``points``.

    ``se``: the standard error of each point, drawn as a 95 % interval; ``low`` and ``high``: the ends of a
    band; ``dashed``: what is expected; ``bare``: a line without its points; ``number``: whose colour, its
    place unless given.
    """

    label: str
    x: Numbers
    y: Numbers
    se: Numbers = ()
    points: bool = False
    dashed: bool = False
    bare: bool = False
    low: Numbers = ()
    high: Numbers = ()
    number: int | None = None

    @property
    def half_widths(self) -> Sequence[float]:
        """Of the intervals through the points; none where there are no standard errors."""
        return [NORMAL_95 * float(se) for se in self.se]


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
    """A value with its 95 % interval: from its standard error ``se``, or given by both ``ends``."""

    label: str
    value: float
    se: float = 0.0
    exact: float | None = None  # marked by a diamond
    ends: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        half_width = NORMAL_95 * self.se
        return self.ends or (self.value - half_width, self.value + half_width)


@dataclass(frozen=True)
class Bars:
    """A value a row, top to bottom: a bar from zero, or on a logarithmic axis, which has no zero, a point."""

    title: str
    across: str
    bars: Sequence[Bar]
    log: bool = False
    marked: str = "exact"  # what a diamond is


Panel = Lines | Bars
