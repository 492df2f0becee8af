"""What an environment did wrong, told in one line; and the checks of what it returns,
for all columns at once.
"""

from __future__ import annotations

import logging
import sysconfig
import warnings
from collections.abc import Sequence
from pathlib import Path
from traceback import FrameSummary, extract_tb
from typing import Any

import gymnasium as gym
import numpy as np

log = logging.getLogger(__name__)

RETURNS = {
    "reset": "reset must return (observation, info)",
    "step": "step must return (observation, reward, terminated, truncated, info)",
}
NOT_USERS = (str(Path(gym.__file__).parent), str(Path(__file__).parent.parent))  # folders of code
STANDARD = Path(sysconfig.get_path("stdlib"))
LONGEST = 200  # characters of what an environment says itself
LARGEST = float(np.finfo(np.float32).max)  # what is learned from is float32


class ColumnFault(Exception):
    """A fault in one column; whoever counts its episodes says where."""

    def __init__(self, column: int, step: int, reason: str):
        super().__init__(reason)
        self.column, self.step, self.reason = column, step, reason


class Unrepeatable(Exception):
    """The state of environments cannot be had again.

    A word of the user's lets such a run go on with fresh episodes.
    """


class Misfit(ValueError):
    """An observation that is not of its space."""


def format_place(name: str, column: int, episode: int, step: int) -> str:
    """Columns and episodes count from 0; step 0 is the reset."""
    return f"{name}: column {column}, episode {episode}, step {step}"


def describe_reason(error: BaseException, phase: str) -> str:
    """``phase``: reset or step, whichever the exception came out of."""
    text = " ".join(str(error).split())[:LONGEST]
    if isinstance(error, Misfit):
        return text
    if isinstance(error, SystemExit):
        return f"{phase} called {format_exception(error)}"
    frames = extract_tb(error.__traceback__)
    if (
        len(frames) == 1 or "to unpack" in text
    ):  # raised where the result is taken apart, by us or by a wrapper
        return f"{RETURNS[phase]}: {text}"
    return f"{phase} raised {format_exception(error)}{place_in_code(frames[-1])}"


def format_exception(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r})"
    text = " ".join(str(error).split())[:LONGEST]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def exception_of_user_code(error: BaseException) -> str:
    """With the line of code that raised it: an assertion has no other text. gymnasium and Python's own import
    machinery are not the user's.
    """
    cause = (
        error.__cause__ if isinstance(error, TypeError) and error.__cause__ else error
    )  # of gymnasium.make
    frames = extract_tb(cause.__traceback__)
    while len(frames) > 1 and is_of_python(frames[-1].filename):  # a dataclass is made by Python's own code
        frames.pop()
    theirs = not frames or frames[-1].filename.startswith(("<frozen", *NOT_USERS))
    hint = ": write @dataclass(frozen=True)" if "non-frozen dataclass from a frozen" in str(cause) else ""
    return format_exception(cause) + ("" if theirs else place_in_code(frames[-1])) + hint


def is_of_python(filename: str) -> bool:
    """Whether a file is of the standard library, and of no package that is installed in it."""
    inside = Path(filename).parts[len(STANDARD.parts) :] if Path(filename).is_relative_to(STANDARD) else ()
    return bool(inside) and inside[0] not in ("site-packages", "dist-packages")


def import_error(module: str, error: BaseException) -> str:
    """Why a module of the user's cannot be imported.

    Python's own words for a missing one, or for bad syntax, say where already.
    """
    said = str(error) if isinstance(error, ImportError) and str(error) else exception_of_user_code(error)
    return f"cannot import {module}: {' '.join(said.split())}"


def place_in_code(frame: FrameSummary) -> str:
    return f" ({Path(frame.filename).name}, line {frame.lineno})"


def observation_from_reset(result: Any) -> Any:
    """The observation in what ``reset`` returned.

    An array of two entries would come apart as well as (observation, info) does.
    """
    if isinstance(result, tuple | list) and len(result) == 2:
        return result[0]
    hint = "" if result is None else ": gym before 0.26 had the observation alone"
    raise Misfit(f"{RETURNS['reset']}, not {format_returned_value(result)}{hint}")


def values_from_step(result: Any) -> Any:
    """What ``step`` returned, if it can be its five values."""
    if isinstance(result, tuple | list):
        return result
    raise Misfit(f"{RETURNS['step']}, not {format_returned_value(result)}")


def format_returned_value(value: Any) -> str:
    return f"{type(value).__name__} {' '.join(repr(value).split())}"[:LONGEST]


def close_all(envs: Sequence[gym.Env], name: str) -> None:
    """What was learned is not lost for an environment that cannot be closed: one warning for all columns."""
    errors = []
    for env in envs:
        try:
            env.close()
        except (Exception, SystemExit) as error:
            errors.append(error)
    if errors:
        told = exception_of_user_code(errors[0])
        log.warning("%s: close raised %s, in %d of %d columns", name, told, len(errors), len(envs))


def to_misfit(error: Exception) -> Misfit:
    return error if isinstance(error, Misfit) else Misfit(f"its observation is not made of numbers: {error}")


def check_rewards(values: Sequence[Any]) -> np.ndarray:
    """The rewards [N]. Raises ``ColumnFault`` where one is no number."""
    array = as_array(values)
    if array.shape == (len(values),) and array.dtype.kind in "fiub":
        return array.astype(np.float64, copy=False)
    raise find_odd_value(values, "fiub", "reward", "a number")


def check_flags(values: Sequence[Any], name: str) -> np.ndarray:
    """``terminated`` or ``truncated`` [N]. Raises ``ColumnFault`` where one is not bool."""
    array = as_array(values)
    if array.shape == (len(values),) and array.dtype.kind == "b":
        return array
    raise find_odd_value(values, "b", name, "True or False")


def as_array(values: Sequence[Any]) -> np.ndarray:
    try:
        return np.array(values)
    except ValueError:  # of different shapes
        return np.empty(0)


def find_odd_value(values: Sequence[Any], kinds: str, name: str, wanted: str) -> ColumnFault:
    """The first that is not of these kinds; the steps are not known here."""
    for column, value in enumerate(values):
        array = as_array([value])
        if array.shape != (1,) or array.dtype.kind not in kinds:
            return ColumnFault(column, -1, f"{name} must be {wanted}, not {format_returned_value(value)}")
    return ColumnFault(0, -1, f"{name} must be {wanted} in every column")


def silence_numpy_warnings() -> None:
    """No NumPy warning of pgrun's own arithmetic before the fault is told; environments keep theirs."""
    for said in ("overflow encountered", "invalid value encountered", "divide by zero encountered"):
        warnings.filterwarnings("ignore", said, RuntimeWarning, r"pgrun\.")
