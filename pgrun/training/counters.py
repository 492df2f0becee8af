"""What a run counts, and where its time goes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pgrun.rollouts.trajectory import Finished
from pgrun.terminal.training_time import TRAINING_TIME
from pgrun.types import Rollout

if TYPE_CHECKING:
    from pgrun.envs import Envs


@dataclass
class Counters:
    env_steps: int = 0  # with those of continuations
    continued: int = 0  # steps of continuations among them
    updates: int = 0
    episodes: int = 0
    next_reading: float = 0.0
    next_row: float = 0.0
    next_eval: int = 0
    next_film: int = 0
    best: float = -math.inf  # mean return of the best evaluation so far
    finished: Finished = field(default_factory=list)  # since the last row
    restarts: list[tuple[int, int]] = field(
        default_factory=list
    )  # (environment steps, columns that began anew there)

    def add(self, rollout: Rollout, finished: Finished) -> int:
        """Count a rollout and the episodes that ended in it; returns its environment steps."""
        steps = rollout.live_rows
        self.env_steps += steps
        self.note_finished(finished)
        return steps

    def add_continued(self, envs: Envs) -> None:
        """Count the steps that a critic has played on since it was last asked."""
        steps, envs.continued = envs.continued, 0
        self.env_steps += steps
        self.continued += steps

    def note_finished(self, finished: Finished) -> None:
        """Count episodes that ended."""
        self.episodes += len(finished)
        self.finished += finished

    def pop_finished(self) -> dict[str, float]:
        """Scalars of the episodes that ended since the last row."""
        finished, self.finished = self.finished, []
        scalars = {"episode/count": float(self.episodes)}
        if finished:
            returns, lengths = zip(*finished, strict=True)
            scalars["return/train"] = sum(returns) / len(returns)
            scalars |= describe_spread("return/train", returns)
            scalars["episode/length"] = sum(lengths) / len(lengths)
        return scalars


def describe_spread(tag: str, returns: Sequence[float]) -> dict[str, float]:
    """Standard deviation, least and most of the returns behind a mean."""
    return {
        f"{tag}_std": float(np.std(returns)),  # NaN where a return is
        f"{tag}_min": float(min(returns)),
        f"{tag}_max": float(max(returns)),
    }


@dataclass
class Clock:
    """Seconds spent on each part of the loop, without those that compiling takes."""

    collecting: float = 0.0
    learning: float = 0.0
    logging: float = 0.0
    evaluating: float = 0.0  # no part of the speed
    wall: float = 0.0  # with evaluations, over all resumes

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        start = TRAINING_TIME.now()
        yield
        setattr(self, part, getattr(self, part) + TRAINING_TIME.now() - start)

    @property
    def total(self) -> float:
        return self.collecting + self.learning + self.logging

    def speed(self, env_steps: int) -> dict[str, float]:
        return {
            "time/env_steps_per_second": env_steps / self.total,
            "time/learning_share": self.learning / self.total,
        }
