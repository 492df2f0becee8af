"""The class signature as schema: which values a setting takes, and which it refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from pgrun.config.schema import (
    Decay,
    NonNegative,
    Positive,
    PositiveInt,
    Probability,
    coerce,
    construct_from_settings,
    find_violations,
)


@pytest.mark.parametrize(
    ("kind", "takes", "refuses"),
    [
        (int, {3: 3, 1e6: 1_000_000, -2.0: -2}, [1.5, True, "3", None, math.nan, math.inf, [1]]),
        (float, {3: 3.0, 0.5: 0.5}, [True, "x", None, math.nan, math.inf, -math.inf]),
        (bool, {True: True}, [0, 1, "true", None]),
        (str, {"a": "a"}, [1, None, True]),
        (Probability, {0: 0.0, 1: 1.0, 0.3: 0.3}, [-1e-9, 1.5, math.nan]),
        (Decay, {0: 0.0, 0.999: 0.999}, [1, 1.0, -0.1]),
        (Positive, {1e-30: 1e-30}, [0, -1, math.inf]),
        (NonNegative, {0: 0.0}, [-1e-9]),
        (PositiveInt, {1: 1, 2.0: 2}, [0, 0.5, -1]),
        (PositiveInt | None, {None: None, 4: 4}, [0, "null"]),
        (Literal["a", "b"], {"a": "a"}, ["c", None, 1]),
    ],
)
def test_values(kind: Any, takes: dict[Any, Any], refuses: list[Any]) -> None:
    for given, meant in takes.items():
        assert coerce(given, kind) == meant
        assert type(coerce(given, kind)) is type(meant)
    for given in refuses:
        with pytest.raises(ValueError, match="must be"):
            coerce(given, kind)


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [(tuple[PositiveInt, ...], [64, 3e1], (64, 30)), (tuple[Decay, Decay], [0, 0.5], (0.0, 0.5))],
)
def test_lists(kind: Any, given: list[Any], meant: tuple[Any, ...]) -> None:
    assert coerce(given, kind) == meant


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (tuple[PositiveInt, ...], 64),
        (tuple[PositiveInt, ...], "64"),
        (tuple[PositiveInt, ...], [64, 0]),
        (tuple[Decay, Decay], [0.9]),
        (tuple[Decay, Decay], [0.9, 0.9, 0.9]),
    ],
)
def test_lists_that_are_refused(kind: Any, given: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        coerce(given, kind)


@dataclass
class Example:
    size: PositiveInt
    rate: Probability = 0.5
    note: str | None = None
    shown: ClassVar[bool] = True


def test_all_violations_are_named() -> None:
    given = {"size": 0, "rate": 2, "note": "x", "shown": False, "extra": 1}
    names = [one.setting for one in find_violations("group.", given, Example)]
    assert names == ["group.size", "group.rate", "group.shown", "group.extra"]


def test_what_is_constructed_has_the_types_of_the_signature() -> None:
    made = construct_from_settings(Example, {"size": 1e3, "rate": 1})
    assert (made.size, made.rate, made.note) == (1000, 1.0, None)
    assert type(made.size) is int
    assert type(made.rate) is float
