"""The user's own code: what a scheme, an algorithm or a network does wrong, said with its file and line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import CodeType
from typing import Any

from pgrun.config.user_modules import IMPORTED
from pgrun.errors import OwnCodeFault, UserFacingError, join_lines

NEEDED = {  # what each method of the contract has to give
    "psi": "a tensor [T, N], a weight for each row of rollout.reward",
    "delete_one_psi": "a DeleteOnePsi of x [T, N], with scale and shift [T, units] or [1, units]",
    "estimate": "a pair: Ψ [T, N], and None or what is added to the gradient [P]",
    "surrogate": "a tensor [], one number that depends on log_prob",
    "gradient_weight": "a tensor [B], ∂L/∂log π of each row",
    "prepare_rollout": "the rollout, or a copy of it with tensors [T, N, …] in extra",
    "scalars": "a dict of tensors [], one number each, by names that the class lists in tags",
    "state_dict": "a dict of tensors, arrays, numbers, texts, None, and lists and dicts of them",
    "net": "a TorchModuleNet whose module gives a tensor [B, outputs] for a tensor [B, inputs]",
}
BY_ROW = ("reward", "raw_reward", "terminated", "ended", "time", "log_prob")  # [T, N] in a rollout
FROZEN = (  # of a dataclass that a method wants to change
    "a scheme keeps nothing from one call to the next; what is to last from update to update belongs in an "
    "algorithm's prepare_rollout and state_dict"
)
LONGEST = 300  # characters of what an exception says itself


def refuse_returned(method: Callable[..., Any], returned: str, here: str = "") -> OwnCodeFault:
    """The fault of a method that gave something else than it must; ``here``: what that is in this run."""
    code: CodeType = getattr(method, "__func__", method).__code__
    needed = NEEDED[code.co_name] + (f", here {here}" if here else "")
    return OwnCodeFault(
        f"{format_line(code, code.co_firstlineno)}: {code.co_qualname} returned {returned}; needed: {needed}"
    )


def is_tensor(value: Any) -> bool:
    """Of any subclass; torch is only imported where a run has it already."""
    import torch

    return isinstance(value, torch.Tensor)


def describe_value(value: Any) -> str:
    """``a tensor [3, 2]``, or the type of anything else."""
    shape = getattr(value, "shape", None)
    if is_tensor(value):
        return f"a tensor {list(value.shape)}"
    if value is None:
        return "nothing (None)"
    return type(value).__name__ + (f" {list(shape)}" if isinstance(shape, tuple) else "")


def require_shape(method: Callable[..., Any], value: Any, shape: tuple[int, ...], like: Any = None) -> None:
    """Refuse what is no tensor of this shape: another one would be broadcast, and train something else.

    ``like``: a tensor whose kind of numbers and device it must have too.
    """
    if not is_tensor(value) or tuple(value.shape) != shape:
        raise refuse_returned(method, describe_value(value), str(list(shape)) if shape else "")
    if like is not None and (wrong := find_tensor_mismatch(value, like)):
        raise refuse_returned(method, f"{describe_value(value)} {wrong[0]}", wrong[1])


def find_tensor_mismatch(value: Any, like: Any) -> tuple[str, str] | None:
    """(what a tensor is and ``like`` is not, what it must be and how); None where they go together."""
    if value.dtype != like.dtype:
        kinds = [str(x.dtype).removeprefix("torch.") for x in (value, like)]
        return f"of {kinds[0]}", f"of {kinds[1]}: .to(torch.{kinds[1]}) makes it that"
    if value.device != like.device:
        return f"on {value.device}", f"on {like.device}: .to('{like.device}') takes it there"
    if value.requires_grad:
        return "that requires a gradient", "one without: .detach() makes it that"
    return None


def require_pair(method: Callable[..., Any], value: Any, parameters: Any) -> tuple[Any, Any]:
    """Ψ, and what is added to the gradient of these parameters [P]; refuse what is no such pair."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise refuse_returned(method, describe_value(value))
    psi, correction = value
    if correction is not None:
        require_shape(method, correction, tuple(parameters.shape), parameters)
    return psi, correction


def require_delete_one(method: Callable[..., Any], value: Any, rollout: Any, units: int) -> None:
    """Refuse what is no Ψ of the other units for each of ``units`` that is left out; float64 is welcome."""
    if type(value).__name__ != "DeleteOnePsi":
        raise refuse_returned(method, describe_value(value))
    like = rollout.reward.to(value.x.dtype) if is_tensor(value.x) else rollout.reward
    require_shape(method, value.x, tuple(rollout.mask.shape), like)
    allowed = [(len(rollout.mask), units), (1, units)]
    for name, part in (("scale", value.scale), ("shift", value.shift)):
        if not is_tensor(part) or tuple(part.shape) not in allowed:
            shapes = " or ".join(str(list(shape)) for shape in allowed)
            raise refuse_returned(method, f"{describe_value(part)} as {name}", shapes)
        if wrong := find_tensor_mismatch(part, rollout.reward.to(part.dtype)):
            raise refuse_returned(method, f"{name} {wrong[0]}", wrong[1])


def require_scalars(method: Callable[..., Any], scalars: Any, tags: tuple[str, ...]) -> None:
    """Refuse what is no dict of numbers by the tags that are declared."""
    if not isinstance(scalars, Mapping):
        raise refuse_returned(method, describe_value(scalars))
    allowed = f"tags = {tags!r}" if tags else "no tags"
    for name, value in scalars.items():
        if name not in tags:
            raise refuse_returned(method, f"{name!r}", allowed)
        if not is_tensor(value) or value.numel() > 2:  # 2: a number, and whether it counts
            raise refuse_returned(method, f"{describe_value(value)} under {name!r}")


def require_rollout(method: Callable[..., Any], rollout: Any, before: Any) -> None:
    """Refuse what is no rollout, holds other kinds of tensors than ``before`` it did, or has columns of its
    own that do not follow its rows.
    """
    if type(rollout).__name__ != "Rollout":
        raise refuse_returned(method, describe_value(rollout))
    rows = tuple(rollout.mask.shape)
    for name in BY_ROW:
        column = getattr(rollout, name)
        if not is_tensor(column) or tuple(column.shape) != rows:
            raise refuse_returned(method, f"{describe_value(column)} as {name}", f"{[*rows]}")
    for name, old in vars(before).items():
        new = getattr(rollout, name)
        if new is not old and is_tensor(old) and is_tensor(new) and (wrong := find_tensor_mismatch(new, old)):
            raise refuse_returned(method, f"{name} {wrong[0]}", wrong[1])
    for name, column in rollout.extra.items():
        if not is_tensor(column) or tuple(column.shape[:2]) != rows:
            raise refuse_returned(method, f"{describe_value(column)} as extra[{name!r}]", f"{[*rows]}")
        if column.device != rollout.mask.device or column.requires_grad:
            wrong = find_tensor_mismatch(column, rollout.mask.to(column.dtype))
            assert wrong is not None
            raise refuse_returned(method, f"extra[{name!r}] {wrong[0]}", wrong[1])


def require_state(method: Callable[..., Any], state: Any) -> None:
    """Refuse what a checkpoint cannot hold."""
    if not isinstance(state, Mapping):
        raise refuse_returned(method, describe_value(state))
    for name, value in state.items():
        for part in list_leaves(value):
            if not (part is None or hasattr(part, "dtype") or isinstance(part, bool | int | float | str)):
                raise refuse_returned(method, f"{describe_value(part)} under {name!r}")


def list_leaves(value: Any) -> list[Any]:
    """What is in lists and dicts, and in those in them."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return (
        [leaf for part in value for leaf in list_leaves(part)] if isinstance(value, list | tuple) else [value]
    )


def find_own_frames(error: BaseException) -> list[tuple[CodeType, int]]:
    """The user's own lines on the way to an exception, the last one nearest to it; not what a dataclass
    makes of a class, which is in no file.
    """
    frames, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if str(trace.tb_frame.f_globals.get("__name__")) in IMPORTED and code.co_filename != "<string>":
            frames.append((code, trace.tb_lineno))
        trace = trace.tb_next
    return frames


def find_own_fault(error: BaseException) -> OwnCodeFault | None:
    """What came out of a module of the user's, an exception or ``sys.exit``, in one sentence; None for any
    other.
    """
    if isinstance(error, UserFacingError) or not isinstance(error, Exception | SystemExit):
        return None
    if not (frames := find_own_frames(error)):
        return None
    code, line = frames[-1]
    method = next((code for code, _ in reversed(frames) if code.co_name in NEEDED), frames[0][0])
    text = join_lines(error)[:LONGEST]
    raised = f"raised {type(error).__name__}: {text}" if text else f"raised {type(error).__name__}"
    if isinstance(error, SystemExit):
        raised = f"called sys.exit({error.code!r})"
    if isinstance(error, FrozenInstanceError):
        return OwnCodeFault(f"{format_line(code, line)}: {method.co_qualname} {raised}: {FROZEN}")
    needed = f"; needed: {NEEDED[method.co_name]}" if method.co_name in NEEDED else ""
    return OwnCodeFault(f"{format_line(code, line)}: {method.co_qualname} {raised}{needed}")


def format_line(code: CodeType, line: int) -> str:
    return f"{Path(code.co_filename).name}, line {line}"
