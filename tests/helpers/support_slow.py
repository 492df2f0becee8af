"""Members of a parametrised test that the quick suite does without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slow_but(quick: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """``values`` in their order, those that are not among ``quick`` marked slow; they exercise the same code.

    Raises ``AssertionError`` where one of ``quick`` is not among them.
    """
    quick, values = list(quick), list(values)
    assert [value for value in quick if value not in values] == []
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
