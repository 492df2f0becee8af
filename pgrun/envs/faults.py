"""What an environment did wrong, told in one line; and the checks of what it returns, for all columns at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np

from pgrun.errors import Refused

RETURNS = {
    "reset": "reset must return (observation, info)",
    "step": "step must return (observation, reward, terminated, truncated, info)",
}
LONGEST = 200  # characters of what an environment says itself
LARGEST = float(np.finfo(np.float32).max)  # what is learned from is float32


class ColumnFault(Exception):
    """A fault in one column; whoever counts its episodes says where."""

    def __init__(self, column: int, step: int, reason: str):
        super().__init__(reason)
        self.column, self.step, self.reason = column, step, reason


class Unrepeatable(Refused):
    """Where environments stood cannot be had again. A word of the user's lets such a run go on with fresh episodes."""


class Misfit(ValueError):
    """An observation that is not of its space."""


def place(name: str, column: int, episode: int, step: int) -> str:
    """Columns and episodes count from 0; step 0 is the reset."""
    return f"{name}: column {column}, episode {episode}, step {step}"


def reason(error: BaseException, phase: str) -> str:
    """``phase``: reset or step, whichever the exception came out of."""
    text = " ".join(str(error).split())[:LONGEST]
    if isinstance(error, Misfit):
        return text
    if isinstance(error, SystemExit):
        return f"{phase} called {exception(error)}"
    frames = extract_tb(error.__traceback__)
    if (
        len(frames) == 1 or "to unpack" in text
    ):  # raised where the result is taken apart, by us or by a wrapper
        return f"{RETURNS[phase]}: {text}"
    at = frames[-1]
    return f"{phase} raised {exception(error)} ({Path(at.filename).name}, line {at.lineno})"


def exception(error: BaseException) -> str:
    """In one line."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r})"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST]}"


def misfit(error: Exception) -> Misfit:
    return error if isinstance(error, Misfit) else Misfit(f"its observation is not made of numbers: {error}")


def numbers(values: Sequence[Any]) -> np.ndarray:
    """The rewards [N]. Raises ``ColumnFault`` where one is no number."""
    found = as_array(values)
    if found.shape == (len(values),) and found.dtype.kind in "fiub":
        return found.astype(np.float64, copy=False)
    raise odd(values, "fiub", "reward", "a number")


def flags(values: Sequence[Any], name: str) -> np.ndarray:
    """``terminated`` or ``truncated`` [N]. Raises ``ColumnFault`` where one is not bool."""
    found = as_array(values)
    if found.shape == (len(values),) and found.dtype.kind == "b":
        return found
    raise odd(values, "b", name, "True or False")


def as_array(values: Sequence[Any]) -> np.ndarray:
    try:
        return np.array(values)
    except ValueError:  # of different shapes
        return np.empty(0)


def odd(values: Sequence[Any], kinds: str, name: str, wanted: str) -> ColumnFault:
    """The first that is not of these kinds; the steps are not known here."""
    for column, value in enumerate(values):
        found = as_array([value])
        if found.shape != (1,) or found.dtype.kind not in kinds:
            shown = f"{type(value).__name__} {value!r}"[:LONGEST]
            return ColumnFault(column, -1, f"{name} must be {wanted}, not {shown}")
    return ColumnFault(0, -1, f"{name} must be {wanted} in every column")


def hush() -> None:
    """No NumPy warning of pgrun's own arithmetic before the fault is told; environments keep theirs."""
    for said in ("overflow encountered", "invalid value encountered", "divide by zero encountered"):
        warnings.filterwarnings("ignore", said, RuntimeWarning, r"pgrun\.")
