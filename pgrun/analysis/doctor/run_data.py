"""What the doctor looks at: a run's settings, scalars and summary, read as data from
whatever is left of it.
"""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pgrun.analysis.compare.config import Flat
from pgrun.analysis.compare.metrics import Metrics, read_metrics
from pgrun.analysis.compare.read_runs import read_configuration, read_json_or_empty, read_summary
from pgrun.analysis.doctor.return_trend import Course, measure_course
from pgrun.atomic_files import TooLarge, read_bytes
from pgrun.errors import InvalidCommand
from pgrun.storage.one_number import read_number

T = TypeVar("T")

TAGS = (
    *("return/train", "return/eval", "episode/length", "episode/count", "policy/entropy"),
    *("kl/old_new", "kl/max", "ratio/ess", "ratio/clip_fraction"),
    *("gradient/variance", "gradient/snr", "value/loss", "value/mean", "value/explained_variance"),
)
MUST_BE_FINITE = ("kl/old_new", "policy/entropy", "policy/loss", "gradient/norm", "value/loss", "value/mean")
WINDOWS = 6  # of the run: what lasts for a sixth of it is no single bad update
UNREADABLE = (OSError, ValueError, LookupError, TypeError, MemoryError)


@dataclass(frozen=True)
class Chart:
    """``settings`` are flat, and empty where they cannot be read. ``notes`` say what is missing."""

    folder: Path
    settings: Flat
    summary: Mapping[str, Any]
    metrics: Metrics
    actions: int | None = None  # dimensions of a Gaussian policy; 0 where they have no bounds, and σ no unit
    seen: float | None = None  # states that the normaliser has seen
    infinite: str = ""  # the first scalar that was no number, and when
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def returns(self) -> Course | None:
        """The course of ``return/train`` over episodes."""
        counts = self.metrics.columns.get("episode/count", np.empty(0))
        there = ~np.isnan(self.metrics.columns.get("return/train", np.empty(0)))
        if len(counts) != len(there):
            return None
        finished = np.diff(np.maximum.accumulate(np.nan_to_num(counts[there])), prepend=0)
        return measure_course(self.values("return/train"), np.maximum(finished, 1))

    @property
    def failing(self) -> bool:
        """The returns say that something is wrong; False where there are too few of them to say so."""
        return self.returns is not None and self.returns.failing

    @property
    def learning(self) -> bool:
        """The returns say that all is well."""
        return self.returns is not None and not (self.returns.failing or self.returns.flat)

    @property
    def status(self) -> str:
        return str(self.summary.get("status", "unfinished"))

    @property
    def updates(self) -> int:
        return int(coerce_to_number(self.summary.get("updates")) or 0)

    def values(self, tag: str) -> np.ndarray:
        """What there is of a scalar, in the order of the run."""
        return self.metrics.track(tag)[1]

    def typical(self, tag: str, share: float = 1.0) -> float:
        """Median over the last ``share`` of the values; NaN where there are none."""
        values = self.values(tag)
        values = values[len(values) - math.ceil(share * len(values)) :]
        return float(np.median(values)) if len(values) else math.nan

    def windows(self, tag: str) -> list[float]:
        """Medians over the sixths of the run, or over what there is."""
        values = self.values(tag)
        parts = np.array_split(values, min(WINDOWS, len(values))) if len(values) else []
        return [float(np.median(part)) for part in parts]

    def setting(self, key: str, default: float = math.nan) -> float:
        """A setting that is a number."""
        number = coerce_to_number(self.settings.get(key))
        return default if number is None else number


def coerce_to_number(value: Any) -> float | None:
    """``1e-3`` is text to YAML 1.1."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def read_chart(folder: Path) -> Chart:
    """Raises ``InvalidCommand`` where it is no run of pgrun; damage is a note."""
    notes = []
    try:
        settings = read_configuration(folder)[0]
    except ValueError as error:
        settings, reason = {}, str(error)
        notes.append(f"{reason}: only the scalars were looked at")
    if settings and "algo.name" not in settings:
        raise InvalidCommand(folder, None, "its configuration is not that of a run of pgrun")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinite numbers are for the doctor to find
        metrics = read_if_small(lambda: read_metrics(folder / "metrics.csv", TAGS), Metrics(), notes)
    nothing: tuple[dict[str, Any], bool] = ({}, False)
    summary, broken = read_if_small(lambda: read_summary(folder), nothing, notes)
    notes += ["summary.json is broken"] * broken + [metrics.note] * bool(metrics.note)
    return Chart(
        folder,
        settings,
        summary,
        metrics,
        count_action_dimensions(folder),
        count_normalised_states(folder) if settings.get("state_norm") is True else None,
        find_not_finite(folder / "metrics.csv"),
        tuple(notes),
    )


def read_if_small(look: Callable[[], T], otherwise: T, notes: list[str]) -> T:
    """What ``look`` reads; ``otherwise``, with a note, where the file is larger than any run's."""
    try:
        return look()
    except TooLarge as error:
        notes.append(f"{error}: left out")
        return otherwise


def count_action_dimensions(folder: Path) -> int | None:
    """Dimensions of the actions, where they are a Box; 0 of one without bounds, or whose policy has no σ of
    actions.
    """
    try:
        content = read_json_or_empty(folder / "policy.json")
        space = str(content.get("action_space"))
        bounded = content.get("config", {}).get("policy", {}).get("name") in ("squashed", "beta")
    except UNREADABLE:
        return None
    match = re.fullmatch(r"Box\(.*\((\d+(?:, ?\d+)*),?\), \w+\)", space, re.S)
    if not match:
        return None
    return 0 if "inf" in space or bounded else math.prod(map(int, match[1].split(",")))


def count_normalised_states(folder: Path) -> float | None:
    """How many states are in its statistics."""
    try:
        return read_number(folder / "policy.safetensors", "obs_count")
    except UNREADABLE:
        return None


def find_not_finite(path: Path) -> str:
    """``kl/old_new = nan at 1,024 steps``: blanks are no such thing, so the text itself is read."""
    try:
        lines = read_bytes(path, links=True).decode(errors="replace").splitlines()
    except (OSError, TooLarge):
        return ""
    suspects = (line for line in lines[1:] if "nan" in line or "inf" in line)
    return next(list_not_finite(lines[:1], suspects), "")


def list_not_finite(header: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
    try:
        for row in csv.DictReader([*header, *lines]):
            for tag in MUST_BE_FINITE:
                value = coerce_to_number(row.get(tag))
                if value is not None and not math.isfinite(value):
                    yield f"{tag} = {value} at {coerce_to_number(row['env_steps']) or 0:,.0f} steps"
    except csv.Error:
        return
