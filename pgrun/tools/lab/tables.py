"""Measured beside expected, as the rows of a table and as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.experiment import Expected, Measured

Found = Mapping[str, Measured]


def outcome_rows(measured: Found, expected: Mapping[str, Expected], what: str = "") -> list[tuple[str, ...]]:
    """A row an outcome: measured, what it must be, and by how many of its standard errors it is off."""
    rows: list[tuple[str, ...]] = [(what, "measured", "expected", "off by, in se")]
    for label, m in measured.items():
        wanted = expected[label]
        off = "" if wanted.value is None or not m.se else f"{(m.value - wanted.value) / m.se:+.1f}"
        rows.append((label, str(m), str(wanted), off))
    return rows


def outcome_bars(
    title: str,
    across: str,
    measured: Found,
    expected: Mapping[str, Expected],
    labels: Sequence[str],
    log: bool = False,
) -> Bars:
    """The outcomes with these labels, 95 % intervals, a diamond where the value is known."""
    return Bars(
        title,
        across,
        [Bar(label, measured[label].value, measured[label].se, expected[label].value) for label in labels],
        log,
    )
