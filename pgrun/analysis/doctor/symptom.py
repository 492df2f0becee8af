"""What an illness is, and the table of those that are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgrun.analysis.doctor.run_data import Chart
from pgrun.config.pages import page_address

PAGE = page_address("my-run-does-not-learn.md")


@dataclass(frozen=True)
class Symptom:
    """``detect`` says with the run's own numbers what is wrong, or nothing; ``suggest`` what to type then.

    ``follows``: from which others it follows; beside one of them it is no cause, and needs no remedy of its
    own.
    """

    name: str  # the anchor on the page too
    detect: Callable[[Chart], str | None]
    suggest: Callable[[Chart], str]
    follows: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        return f"{PAGE}#{self.name}"


@dataclass(frozen=True)
class Finding:
    illness: Symptom
    evidence: str
    remedy: str

    @property
    def name(self) -> str:
        return self.illness.name

    def __str__(self) -> str:
        return f"{self.evidence}. Try {self.remedy}. See {self.illness.page}"


def format_figure(value: float) -> str:
    """Three digits, without an exponent where none is needed."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def format_scaled_setting(chart: Chart, key: str, factor: float, usual: float) -> str:
    """``key=value`` with the run's own value times ``factor``, as it is typed."""
    value = chart.setting(key, usual) * factor
    return f"{key}={value:.0f}" if factor > 1 and value >= 10 else f"{key}={value:.3g}"
