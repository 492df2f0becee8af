"""The values of a word such as ``seed=0,1`` or ``seed=range(0,3)``: how many, without making them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep

MOST = 10_000  # jobs of a sweep


def list_word_values(override: Override) -> list[Any]:
    """The one value, or those of a choice; [] for ranges and patterns."""
    given = override._value
    return (
        list(given.list)
        if isinstance(given, ChoiceSweep)
        else []
        if override.is_sweep_override()
        else [given]
    )


def find_wrong_word_values(override: Override) -> str | None:
    """Nothing to choose from, or twice the same job."""
    given = override._value
    if isinstance(given, RangeSweep) and not count_word_values(override):
        return "a range without values; range(0,3) is 0, 1 and 2"
    if isinstance(given, ChoiceSweep):
        if not given.list:
            return "a choice without values"
        counts = Counter(map(str, given.list))
        if repeated := [text for text, count in counts.items() if count > 1]:
            return f"{repeated[0]} stands there {counts[repeated[0]]} times, and would be run as often"
    return None


def count_word_values(override: Override) -> int:
    given = override._value
    if isinstance(given, RangeSweep):
        low, high, step = (float(x or 0) for x in (given.start, given.stop, given.step))
        return max(math.ceil((high - low) / step), 0) if step and math.isfinite(high - low) else 0
    return len(given.list) if isinstance(given, ChoiceSweep) else 1


def count_jobs(overrides: Iterable[Override]) -> int:
    """How many jobs a sweep over all combinations has."""
    return math.prod(count_word_values(override) for override in overrides if override.is_sweep_override())
