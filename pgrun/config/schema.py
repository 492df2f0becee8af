"""The class signature is the schema: its annotations say which values a setting may take.

``Annotated[float, Range(0, 1)]`` is a number in [0, 1]; ``Literal`` a choice; ``X | None`` also null.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import keyword
import math
import re
import sys
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from pgrun.config import user_modules
from pgrun.errors import Mistake

T = TypeVar("T")

NAME = re.compile(r"[a-zA-Z]\w{,99}")  # of an option; no part of a path or package
GROUPS = {
    "variance": "pgrun.variance",
    "algo": "pgrun.algorithms",
    "optimizer": "pgrun.optimization.optimizers",
    "network": "pgrun.policies.networks",
    "policy": "pgrun.policies.families",
    "critic": "pgrun.critics",
    "sampler": "pgrun.rollouts.samplers",
}


EXACT, LARGEST = 2**53, 2**63 - 1  # integers that a float and a file can hold
FLOAT32 = (1.1754943508222875e-38, 3.4028234663852886e38)  # in size, the numbers that learning computes with


@dataclasses.dataclass(frozen=True)
class Range:
    """low ≤ x ≤ high; low < x with ``open``, x < high with ``below``; finite in any case."""

    low: float
    high: float = math.inf
    open: bool = False
    below: bool = False

    def __contains__(self, x: float) -> bool:
        edges = {self.low} if self.open else set()
        edges |= {self.high} if self.below else set()
        return math.isfinite(x) and self.low <= x <= self.high and x not in edges

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'>' if self.open else '≥'} {self.low:g}"
        return f"in {'(' if self.open else '['}{self.low:g}, {self.high:g}{')' if self.below else ']'}"


@dataclasses.dataclass(frozen=True)
class Form:
    """Text that a regular expression fits; ``says``: what that is."""

    pattern: str
    says: str

    def __contains__(self, text: str) -> bool:
        return re.fullmatch(self.pattern, text, re.ASCII) is not None

    def __str__(self) -> str:
        return self.says


Probability = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, below=True)]  # of a running mean: at 1 it never moves
Positive = Annotated[float, Range(0, open=True)]
NonNegative = Annotated[float, Range(0)]
PositiveInt = Annotated[int, Range(1)]
Repeats = Annotated[int, Range(1, 10_000)]  # inside an update, which a signal waits for
NonNegativeInt = Annotated[int, Range(0)]


def find_class(group: str, name: str, modules: tuple[str, ...] = ()) -> type:
    """The class that ``group=name`` means: by name, inside the package or in modules named by the user.

    ``reward_to_go`` is ``RewardToGo`` in ``pgrun.variance.reward_to_go``. Raises ``LookupError``.
    """
    camel = "".join(part.capitalize() for part in name.split("_"))
    camel += "_" * keyword.iskeyword(camel)
    if not NAME.fullmatch(name):
        raise LookupError(f"{group}={name[:40]}: not a name")
    for place in (f"{GROUPS[group]}.{name}", GROUPS[group], *modules):
        try:
            cls = getattr(
                (user_modules.import_user_module if place in modules else importlib.import_module)(place),
                camel,
                None,
            )
        except ModuleNotFoundError as error:
            if error.name is not None and place.startswith(error.name):
                continue
            raise
        if isinstance(cls, type):
            return cls
    own = "" if modules else "; if it is your own, name its file: modules=[my_module]"
    raise LookupError(f"{group}={name}: no class {camel} in {', '.join([*modules, GROUPS[group]])}{own}")


@cache
def setting_kinds(cls: type) -> Mapping[str, Any]:
    """name → annotation of the settings of a dataclass (those that its constructor takes)."""
    return {f.name: evaluate_annotation(cls, f) for f in dataclasses.fields(cls) if f.init}


def evaluate_annotation(cls: type, field: dataclasses.Field[Any]) -> Any:
    """Evaluated alone: other fields are annotated with what only a type checker imports."""
    if not isinstance(field.type, str):
        return field.type
    owner = next(base for base in cls.__mro__ if field.name in inspect.get_annotations(base))
    return eval(field.type, vars(sys.modules[owner.__module__]))


def is_setting_kind(kind: Any) -> bool:
    """Whether ``coerce`` knows an annotation."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return is_setting_kind(args[0])
    if origin in (Union, types.UnionType):
        return all(is_setting_kind(arg) for arg in args if arg is not type(None))
    if origin in (list, tuple):
        return all(is_setting_kind(arg) for arg in args if arg is not Ellipsis)
    return origin in (Literal, dict) or kind in (Any, dict, int, float, bool, str)


def coerce(value: Any, kind: Any) -> Any:
    """The value as its annotation wants it, e.g. 1e6 as an integer.

    Raises ``ValueError`` saying what is allowed.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = coerce(value, args[0])
        if value not in args[1]:
            raise ValueError(f"must be {args[1]}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        first, *rest = (a for a in args if a is not type(None))
        words = [word for a in rest if get_origin(a) is Literal for word in get_args(a)]
        if isinstance(value, str) and value in words:
            return value
        try:
            return coerce(value, first)
        except ValueError as error:
            others = [*map(format_value, words)]
            raise ValueError(" or ".join([str(error), *others])) from error
    if origin is Literal:
        if value not in args:
            raise ValueError(f"must be one of {', '.join(map(format_value, args))}")
        return value
    if origin in (list, tuple):
        count = len(args) if origin is tuple and args[-1] is not Ellipsis else None
        if not isinstance(value, list | tuple) or len(value) != (count or len(value)):
            example = (
                f"of {count}" if count else "such as [name]" if args[0] in (str, Any) else "such as [64, 64]"
            )
            raise ValueError(f"must be a list {example}")
        return tuple(coerce(x, args[0]) for x in value)
    if origin is dict or kind is dict:
        if not isinstance(value, Mapping):
            raise ValueError("must be a mapping, such as {name: value}")
        return dict(value)
    if kind is Any:
        return value
    return fit_scalar(value, kind)


def fit_scalar(value: Any, kind: type) -> Any:
    """An integral float is an integer, an integer is a float; a bool is neither."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int and number and value == value // 1:
        if abs(value) > (EXACT if isinstance(value, float) else LARGEST):
            raise ValueError(
                "must be an integer below 2^63; with an exponent below 2^53, beyond which not all are exact"
            )
        return int(value)
    if kind is float and number and math.isfinite(value):
        if value and not FLOAT32[0] <= abs(value) <= FLOAT32[1]:
            low, high = FLOAT32
            raise ValueError(f"must be what float32 holds: 0, or {low:.2g} to {high:.2g} in size")
        return float(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    names = {int: "an integer", float: "a finite number", bool: "true or false", str: "a string"}
    raise ValueError(f"must be {names[kind]}")


def find_violations(where: str, given: Any, cls: type) -> Iterator[Mistake]:
    """What is wrong with ``given`` as settings of ``cls``; a section that is null has none."""
    kinds = setting_kinds(cls)
    if given is None:
        return
    if not isinstance(given, Mapping):
        names = ", ".join(f"{where}{name}" for name in kinds)
        yield Mistake(where.removesuffix("."), format_value(given), "is a section", f"set {names}")
        return
    for name, value in given.items():
        if name not in kinds:
            yield Mistake(f"{where}{name}", None, f"no such setting; there are {', '.join(kinds) or 'none'}")
            continue
        try:
            coerce(value, kinds[name])
        except (ValueError, OverflowError) as error:
            yield Mistake(f"{where}{name}", format_value(value), f"{error}")


def construct_from_settings(cls: type[T], given: Mapping[str, Any]) -> T:
    """An instance from checked settings."""
    kinds = setting_kinds(cast("type", cls))
    return cls(**{name: coerce(value, kinds[name]) for name, value in given.items()})


def format_value(value: Any) -> str:
    """A value as it is typed on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
