"""What an experiment is: a claim, the commands that try it, how their results are
read, and what must come out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgrun.presentation.panels import Panel
    from pgrun.tools.lab.commands import JobResult

NOTES = {  # the lecture notes that claims are from
    "A": "notes on CS285's lecture 5",
    "B": "notes on natural policy gradients",
    "C": "notes from REINFORCE to PPO",
}
TOLERANCE = 4.0  # standard errors: one in 16,000 of a normal's draws lies beyond


class Verdict(StrEnum):
    """What the measured numbers say of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    DEPENDS = "depends"  # on a condition, which the sentence names
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Measured:
    """A number with its standard error; 0 where it is exact up to rounding."""

    value: float
    se: float = 0.0

    def __str__(self) -> str:
        return f"{self.value:.4g}" + (f" ± {self.se:.2g}" if self.se else "")


@dataclass(frozen=True)
class Expected:
    """What must come out: ``value`` up to ``slack`` and four standard errors of what was measured, or
    anything from low to high.

    ``slack`` is for the rounding of ``value`` as it is written, or for what is known to be left out of it.
    """

    value: float | None = None
    slack: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    def admits(self, measured: Measured) -> bool:
        x, room = measured.value, self.slack + TOLERANCE * measured.se
        near = self.value is None or abs(x - self.value) <= room
        return near and self.low <= x <= self.high

    def __str__(self) -> str:
        if self.value is not None:
            return f"{self.value:g}"
        if math.isinf(self.high):
            return f"≥ {self.low:g}"
        return f"≤ {self.high:g}" if math.isinf(self.low) else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Finding:
    """What the results of an experiment's commands say."""

    outcomes: Mapping[str, Measured]  # by the labels of ``Experiment.expected``
    table: Sequence[Sequence[str]]  # the first row is its head
    panels: Sequence[Panel]
    verdict: Verdict
    sentence: str  # with the numbers; the verdict is put in front of it


def name_lines(numbers: str) -> str:
    """``line 124``, ``lines 38–40``."""
    return f"{'line' if numbers.isdigit() else 'lines'} {numbers}"


@dataclass(frozen=True)
class Experiment:
    """A claim of lecture notes, or of a paper, tried.

    ``commands`` are typed as they stand; ``outputs/lab/here`` in them is the experiment's own folder.
    ``read`` sees the jobs of each command in order. A verdict is decided by ``read`` from what was measured;
    ``verdict`` is the one that must come out.
    """

    name: str
    group: str  # of pgrun.tools.lab.catalogue.GROUPS
    row: float  # its place in the group
    claim: str
    place: str  # notes and lines, ``A L38–40``, or the paper
    formula: str
    read: Callable[[Sequence[Sequence[JobResult]]], Finding]
    expected: Mapping[str, Expected]
    verdict: Verdict
    shows: str
    next: str
    seconds: int  # on one core of a quiet laptop, about
    fast: bool = False  # whether it belongs to the check that takes seconds
    commands: Sequence[str] = ()  # none where all is enumerated
    chinese: str = ""  # the notes' own words; empty for a paper's claim
    english: str = ""  # the same words in English
    nearby: Sequence[Verdict] = ()  # no surprise either: where few seeds decide, another machine may tip them

    @property
    def source(self) -> str:
        """The place in words: ``notes on CS285's lecture 5, lines 38–40``, or the paper."""
        if not self.chinese:
            return self.place
        parts = (part.partition(" ") for part in self.place.split("; "))
        return "; ".join(f"{NOTES[key]}, {name_lines(lines.replace('L', ''))}" for key, _, lines in parts)

    def changes(self, finding: Finding) -> list[str]:
        """A line for everything that did not come out as it must."""
        sentences = [
            f"{label}: {finding.outcomes[label]}, and it must be {wanted}"
            for label, wanted in self.expected.items()
            if label in finding.outcomes and not wanted.admits(finding.outcomes[label])
        ]
        sentences += [f"{label}: not measured" for label in self.expected if label not in finding.outcomes]
        sentences += [
            f"{label}: nothing is expected of it" for label in finding.outcomes if label not in self.expected
        ]
        if finding.verdict not in (self.verdict, *self.nearby):
            sentences.append(f"the verdict is {finding.verdict}, and what must come out is: {self.verdict}")
        return sentences
