"""The user's own classes, looked at before anything runs: what they are to write, and how it is called."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pgrun.config.own_code import find_own_fault, find_own_frames
from pgrun.config.schema import construct_from_settings, evaluate_annotation, find_violations, is_setting_kind
from pgrun.errors import Mistake, OwnCodeFault, join_lines

REQUIRED = {  # methods that each group's class must write; for "psi" or "estimate" one of them
    "variance": ("psi|estimate",),
    "algo": ("surrogate",),
    "critic": ("build",),
    "optimizer": ("start", "step"),
    "policy": ("distribution",),
}
MARK = "@dataclass(frozen=True)"
KINDS = "int, float, bool, str, Literal, lists and dicts of them, the ranges of pgrun.config.schema"


def is_own(cls: type) -> bool:
    """Whether a class is the user's and not pgrun's."""
    return cls.__module__.split(".")[0] not in ("pgrun", "builtins", "abc", "typing")


def locate_class(cls: type) -> str:
    """``odd.py, line 8: Odd``"""
    try:
        lines, first = inspect.getsourcelines(cls)
        below = next((i for i, line in enumerate(lines) if line.lstrip().startswith("class ")), 0)
        return f"{Path(str(inspect.getsourcefile(cls))).name}, line {first + below}: {cls.__name__}"
    except (OSError, TypeError):  # made by code, or its file is gone
        return f"{cls.__module__}.{cls.__name__}"


def locate_method(function: Any) -> str:
    """``odd.py, line 12: Odd.psi``"""
    code = inspect.unwrap(function).__code__
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}: {function.__qualname__}"


def find_class_mistakes(
    group: str, where: str, name: str, given: Mapping[str, Any], cls: type, base: type
) -> list[Mistake]:
    """What is wrong with settings of a class, and before that with the class itself, where it is the user's.

    ``where``: ``variance.``, in front of the settings' names.
    """
    return (
        [*find_class_faults(group, name, cls, base)]
        or [*find_field_faults(where, given, cls)]
        or [*find_violations(where, given, cls)]
        or [*find_refused_settings(group, name, given, cls)]
    )


def find_class_faults(group: str, name: str, cls: type, base: type) -> Iterator[Mistake]:
    """What a class of the user's lacks, or has otherwise than it is called."""
    if not is_own(cls):
        return
    yield from find_missing_methods(group, name, cls, base)
    for method, problem, remedy in find_wrong_methods(cls):
        yield Mistake(group, name, f"{method} {problem}", remedy)
    yield from find_forgotten_decorator(group, name, cls)


def find_missing_methods(group: str, name: str, cls: type, base: type) -> Iterator[Mistake]:
    """Methods of the contract that are still the base's."""
    needed = REQUIRED.get("variance" if group == "schemes" else group, ())
    if getattr(cls, "has_clip", False):
        needed += ("clipped",)
    for names in needed:
        choices = names.split("|")
        if all(getattr(cls, each) is getattr(base, each) for each in choices):
            call = format_call(choices[0], getattr(base, choices[0]))
            yield Mistake(group, name, f"{locate_class(cls)} has no {call}", "write it")


def find_wrong_methods(cls: type) -> Iterator[tuple[str, str, str]]:
    """(where, what is wrong, what to write) of methods that cannot be called as pgrun's own of that name."""
    mro = cls.__mro__
    for i, kind in enumerate(mro):
        if not is_own(kind):
            continue
        for name, written in vars(kind).items():
            asked = next((vars(x)[name] for x in mro[i + 1 :] if not is_own(x) and name in vars(x)), None)
            if asked is None or name.startswith("__") or not is_method(asked):
                continue
            place = locate_method(get_function(written)) if is_method(written) else ""
            if isinstance(asked, property | cached_property):
                if place and not isinstance(written, property | cached_property):
                    yield place, "is read without a call", "write @property above it"
            elif isinstance(written, property | cached_property):
                yield place, "is called", "take @property away"
            elif not place:
                if not callable(written):
                    shown = f"{locate_class(kind)}.{name}"
                    yield shown, "is no method", f"write {format_call(name, get_function(asked))}"
            elif not takes_call(written, asked):
                shown = format_parameters(get_function(written))
                call = format_call(name, get_function(asked))
                yield place, f"has the parameters {shown}", f"write {call}"


def is_method(thing: Any) -> bool:
    return inspect.isfunction(thing) or isinstance(
        thing, property | cached_property | classmethod | staticmethod
    )


def get_function(method: Any) -> Callable[..., Any]:
    """The function in a method as it stands in its class."""
    if isinstance(method, property):
        return method.fget  # type: ignore[return-value]
    if isinstance(method, cached_property):
        return method.func
    return getattr(method, "__func__", method)  # type: ignore[no-any-return]


def takes_call(written: Any, asked: Any) -> bool:
    """Whether a method takes the arguments of another, with those that it may leave out and without."""
    ours = list_arguments(asked)
    own = [object()] * (not isinstance(written, staticmethod))  # self, or the class
    signature = inspect.signature(get_function(written))
    for some in (ours, [x for x in ours if x.default is x.empty]):
        positional = [x for x in some if x.kind in (x.POSITIONAL_ONLY, x.POSITIONAL_OR_KEYWORD)]
        by_name = {x.name: None for x in some if x.kind is x.KEYWORD_ONLY}
        try:
            signature.bind(*own, *positional, **by_name)
        except TypeError:
            return False
    return True


def list_arguments(method: Any) -> list[inspect.Parameter]:
    """The parameters of a method, without self."""
    given = list(inspect.signature(get_function(method)).parameters.values())
    return given if isinstance(method, staticmethod) else given[1:]


def format_call(name: str, function: Callable[..., Any]) -> str:
    """``psi(self, rollout, value, gamma)``"""
    return f"{name}{format_parameters(function)}"


def format_parameters(function: Callable[..., Any]) -> str:
    """The parameters without their annotations."""
    signature = inspect.signature(function)
    bare = [x.replace(annotation=x.empty) for x in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def find_forgotten_decorator(group: str, name: str, cls: type) -> Iterator[Mistake]:
    """Fields that are no settings, for want of ``@dataclass`` above the class."""
    for kind in cls.__mro__:
        if not is_own(kind) or "__dataclass_fields__" in vars(kind):
            continue
        fields = [x for x, hint in inspect.get_annotations(kind).items() if not is_class_variable(hint)]
        if fields:
            mark = MARK if is_frozen(cls) else "@dataclass"
            reason = f"{locate_class(kind)} has no @dataclass, so that {', '.join(fields)} is no setting"
            yield Mistake(group, name, reason, f"write {mark} above the class")


def is_class_variable(hint: Any) -> bool:
    return "ClassVar" in hint if isinstance(hint, str) else getattr(hint, "__origin__", hint) is ClassVar


def is_frozen(cls: type) -> bool:
    return bool(getattr(getattr(cls, "__dataclass_params__", None), "frozen", False))


def find_field_faults(where: str, given: Mapping[str, Any], cls: type) -> Iterator[Mistake]:
    """Fields of a class of the user's that cannot be settings, or that nothing gives a value."""
    if not is_own(cls):
        return
    for each in dataclasses.fields(cls):
        missing = each.default is each.default_factory is dataclasses.MISSING and each.name not in given
        if not each.init or not (missing or each.name in given):
            continue
        try:
            usable = is_setting_kind(evaluate_annotation(cls, each))
        except (NameError, SyntaxError, TypeError, AttributeError):  # a name that only type checkers import
            usable = False
        if not usable:
            hint = each.type if isinstance(each.type, str) else getattr(each.type, "__name__", each.type)
            reason = f"{locate_class(cls)} annotates it with {hint}, and a setting is of {KINDS}"
            yield Mistake(f"{where}{each.name}", None, reason, "or write field(init=False) for what is none")
        elif missing:
            reason = f"{locate_class(cls)} gives it no default, and its YAML file no value"
            yield Mistake(f"{where}{each.name}", None, reason, f"write {each.name}: … into one of them")


def find_refused_settings(group: str, name: str, given: Mapping[str, Any], cls: type) -> Iterator[Mistake]:
    """What ``__post_init__`` of a class of the user's says of the settings, in its own words."""
    if not is_own(cls):
        return
    try:
        construct_from_settings(cls, given)
    except ValueError as error:
        yield Mistake(group, name, f"{join_lines(error)}{locate_raise(error)}")
    except Exception as error:  # of the user's code: whatever it raises
        fault = find_own_fault(error)
        yield Mistake.of(fault or OwnCodeFault(f"{locate_class(cls)}: {type(error).__name__}: {error}"))


def locate_raise(error: BaseException) -> str:
    """`` (odd.py, line 12)``, the last line of the user's on the way to an exception."""
    frames = find_own_frames(error)
    return f" ({Path(frames[-1][0].co_filename).name}, line {frames[-1][1]})" if frames else ""
