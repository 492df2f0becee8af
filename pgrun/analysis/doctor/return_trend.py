"""How the return went: where it began, how high it came, where it ended, and what of
that is more than noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 8  # rows with a return: fewer tell nothing
EPISODES = 20  # whose mean is "the start": its error is a fifth of an episode's spread; little is learned yet
NEAR = 10  # rows that the spread of the first episodes is taken from, at the least
PARTS = 10  # of the run, whose means are compared with it
SURE = 3.0  # standard errors, themselves estimated: without a trend one run in 20 rises, one in 50 falls
CLEAR = 0.2  # spreads of a single episode: a rise that is smaller is none that anybody would see
VISIBLE = 0.5  # of the return: a rise that has to be seen before its absence is told
SAME = 1e-9  # relative: returns that differ by rounding alone


@dataclass(frozen=True)
class Part:
    """Some rows: the mean return of their episodes, and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True)
class Course:
    start: Part
    best: Part
    end: Part
    spread: float  # standard deviation of one episode's return at the start
    rows: int
    constant: bool  # every row has the same return

    @property
    def flat(self) -> bool:
        """At no time was the return better than at the start."""
        return not is_clearly_above(self.best, self.start, self.spread)

    @property
    def clear(self) -> bool:
        """Whether a rise by half would have been seen, so that it can be said that there is none.

        Where single episodes scatter by several times what they return, one that doubles it hides in noise.
        """
        level = max(abs(self.start.mean), abs(self.end.mean))
        return SURE * float(np.hypot(self.start.error, self.best.error)) <= VISIBLE * level

    @property
    def stuck(self) -> bool:
        """It did not rise, which can be told."""
        return self.flat and self.clear

    @property
    def worse(self) -> bool:
        return is_clearly_above(self.start, self.end, self.spread)

    @property
    def rising(self) -> bool:
        """At some time it was better, even if that is lost again."""
        return not self.flat and not self.worse

    @property
    def collapsed(self) -> bool:
        """More than half of what was gained is lost again."""
        gain, loss = self.best.mean - self.start.mean, self.best.mean - self.end.mean
        return not self.flat and loss > gain / 2 and is_clearly_above(self.best, self.end, self.spread)

    @property
    def failing(self) -> bool:
        return self.stuck or self.worse or self.collapsed


def is_clearly_above(high: Part, low: Part, spread: float) -> bool:
    """Whether a difference is both more than noise and large enough to matter."""
    gap = high.mean - low.mean
    return gap > SURE * float(np.hypot(high.error, low.error)) and gap > CLEAR * spread


def measure_course(returns: np.ndarray, episodes: np.ndarray) -> Course | None:
    """From ``return/train`` [R] and the number of ``episodes`` [R] behind each; None
    of fewer rows than ``LEAST``.
    """
    if len(returns) < LEAST or not np.isfinite(returns).all():
        return None
    first = max(1, int(np.searchsorted(np.cumsum(episodes), EPISODES)) + 1)
    first = min(first, len(returns) // 3)  # of a short run the rest is needed too
    near, whole = slice(0, max(first, NEAR)), estimate_episode_noise(returns, episodes)
    spread = min(
        estimate_episode_noise(returns[near], episodes[near]), whole
    )  # a sudden fall is not the start's noise
    rest = [
        measure_part(returns[rows], episodes[rows], whole)
        for rows in np.array_split(np.arange(first, len(returns)), min(PARTS, len(returns) - first))
    ]
    return Course(
        start=Part(
            mean_per_episode(returns[:first], episodes[:first]), spread / np.sqrt(episodes[:first].sum())
        ),
        best=max(rest, key=lambda window: window.mean),
        end=rest[-1],
        spread=spread,
        rows=len(returns),
        constant=bool(np.ptp(returns) <= SAME * np.abs(returns).max()),
    )


def measure_part(returns: np.ndarray, episodes: np.ndarray, whole: float) -> Part:
    own = estimate_episode_noise(returns, episodes) if len(returns) > 2 else whole
    return Part(mean_per_episode(returns, episodes), own / np.sqrt(episodes.sum()))


def mean_per_episode(returns: np.ndarray, episodes: np.ndarray) -> float:
    return float((returns * episodes).sum() / episodes.sum())


def estimate_episode_noise(returns: np.ndarray, episodes: np.ndarray) -> float:
    """Standard deviation of one episode's return, from neighbouring rows: a trend hardly enters.

    Means of m and n episodes differ by a variance of σ²(1/m + 1/n).
    """
    squares = np.diff(returns) ** 2 / (1 / episodes[1:] + 1 / episodes[:-1])
    return float(np.sqrt(squares.mean())) if len(squares) else 0.0
