"""How a number of the settings goes over a run: one way for a learning rate, a clip, a radius and an entropy
bonus.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

Kind = Literal["constant", "linear", "cosine", "kl"]
KindOfRadius = Literal["constant", "linear", "cosine"]  # where v itself says how far a step goes
OVER_THE_RUN = ("linear", "cosine")  # kinds that end at the end of the run
FACTOR, TOLERANCE = 1.5, 2.0  # of the rule of ``kl``
LOWEST, HIGHEST = 0.01, 10.0  # times the start: where that rule stops


class Schedule:
    """v from ``start`` on, with p the share of the run that is done:

        constant  v = start
        linear    v = end + (start − end)(1 − p)
        cosine    v = end + (start − end)(1 + cos πp)/2          (Loshchilov & Hutter 2017, eq. 5)
        kl        v ← v/1.5 after an update whose KL > 2·target_kl, v ← 1.5·v after one with
                  0 < KL < target_kl/2, within [start/100, 10·start]

    The last is the adaptive rule of RSL-rl (Schwarke et al. 2025) and rl-games (Makoviichuk & Makoviychuk
    2022), with their factors, and RSL-rl's bounds of 1e-5 and 1e-2 for a start of 1e-3. They apply it to each
    minibatch, with the KL so far; here it is once an update, with the exact mean KL(old‖new) over the whole
    batch, so that v stands still within an update. (Spinning Up leaves v alone and stops the epochs, as
    ``algo.target_kl`` does.)
    """

    def __init__(self, start: float, kind: Kind = "constant", end: float = 0.0, target_kl: float = 0.01):
        self.start, self.kind, self.end, self.target_kl = start, kind, end, target_kl
        self.value = start

    @property
    def follows_kl(self) -> bool:
        return self.kind == "kl"

    def value_at(self, progress: float) -> float:
        """v at this share of the run, beyond 1 that of its end; the present v where it hangs on no share."""
        if self.kind == "linear":
            return self.end + (self.start - self.end) * max(1 - progress, 0.0)
        if self.kind == "cosine":
            share = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
            return self.end + (self.start - self.end) * share
        return self.value

    def list_values(self, progress: np.ndarray) -> np.ndarray:
        """``value_at`` each of these shares, to the bit; a single value where v does not hang on them."""
        if self.kind == "linear":
            left: np.ndarray = np.maximum(1 - progress, 0.0)
            return self.end + (self.start - self.end) * left
        if self.kind == "cosine":  # NumPy's cosine rounds otherwise than Python's
            return np.array([self.value_at(share) for share in progress.tolist()])
        return np.array([self.value])

    def set_progress(self, progress: float) -> None:
        """``progress``: the share of the run that is done."""
        self.value = self.value_at(progress)

    def adapt(self, kl: float) -> None:
        """The rule of ``kl``, from the KL of one update; one without rows has none and changes nothing."""
        if not self.follows_kl:
            return
        if kl > TOLERANCE * self.target_kl:
            self.value = max(self.value / FACTOR, LOWEST * self.start)
        elif 0 < kl < self.target_kl / TOLERANCE:
            self.value = min(self.value * FACTOR, HIGHEST * self.start)

    def state_dict(self) -> dict[str, Any]:
        """What the share of the run does not tell."""
        return {"value": self.value} if self.follows_kl else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state.get("value", self.value)


def states_of(schedules: dict[str, Schedule]) -> dict[str, Any]:
    """What is saved of several, by name; nothing of those that have nothing."""
    states = {name: schedule.state_dict() for name, schedule in schedules.items()}
    return {name: state for name, state in states.items() if state}
