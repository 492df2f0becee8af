"""The user's own code: what a scheme, an algorithm or a network does wrong, said with its file and line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from pgrun.config.user_modules import IMPORTED
from pgrun.errors import OwnCodeFault, UserFacingError, join_lines

NEEDED = {  # what each method of the contract has to give
    "psi": "a tensor [T, N], a weight for each row of rollout.reward",
    "estimate": "a pair: Ψ [T, N], and None or what is added to the gradient [P]",
    "surrogate": "a tensor [], one number that depends on log_prob",
    "gradient_weight": "a tensor [B], ∂L/∂log π of each row",
    "prepare_rollout": "the rollout, or a copy of it with tensors [T, N, …] in extra",
    "scalars": "a dict of tensors [], one number each, by names that the class lists in tags",
    "state_dict": "a dict of tensors, arrays, numbers, texts, None, and lists and dicts of them",
    "net": "a TorchModuleNet whose module gives a tensor [B, outputs] for a tensor [B, inputs]",
}
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


def require_shape(method: Callable[..., Any], value: Any, shape: tuple[int, ...]) -> None:
    """Refuse what is no tensor of this shape: another one would be broadcast, and train something else."""
    if not is_tensor(value) or tuple(value.shape) != shape:
        raise refuse_returned(method, describe_value(value), str(list(shape)) if shape else "")


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


def require_rollout(method: Callable[..., Any], rollout: Any) -> None:
    """Refuse what is no rollout, or has columns of its own that do not follow its rows."""
    if type(rollout).__name__ != "Rollout":
        raise refuse_returned(method, describe_value(rollout))
    rows = tuple(rollout.mask.shape)
    for name, column in rollout.extra.items():
        if not is_tensor(column) or tuple(column.shape[:2]) != rows:
            raise refuse_returned(method, f"{describe_value(column)} as extra[{name!r}]", f"{[*rows]}")


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


def find_own_fault(error: BaseException) -> OwnCodeFault | None:
    """An exception that came out of a module of the user's, in one sentence; None for any other."""
    if isinstance(error, UserFacingError) or not isinstance(error, Exception):
        return None
    frames, trace = [], error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")) in IMPORTED:
            frames.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    if not frames:
        return None
    code, line = frames[-1]
    method = next((code for code, _ in reversed(frames) if code.co_name in NEEDED), frames[0][0])
    text = join_lines(error)[:LONGEST]
    raised = f"{type(error).__name__}: {text}" if text else type(error).__name__
    needed = f"; needed: {NEEDED[method.co_name]}" if method.co_name in NEEDED else ""
    return OwnCodeFault(f"{format_line(code, line)}: {method.co_qualname} raised {raised}{needed}")


def format_line(code: CodeType, line: int) -> str:
    return f"{Path(code.co_filename).name}, line {line}"
