"""The weights that a scheme gives to actions, time step by time step, beside what the actions were worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pgrun.critics.exact import ExactCritic
from pgrun.tools.study.collect import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

LEVEL = 1e-9  # an advantage that small is none


class ByStep:
    """Sums over the rows of each of the first ``steps`` time steps.

    Good and bad actions: those whose exact A(s, a) = Q − V is

    above or below 0, where ``judge`` knows it; wrong: a weight of the other sign.
    """

    key = "by_step"

    def __init__(self, steps: int, psis: Mapping[str, Callable[[Seen], Tensor]], judge: ExactCritic | None):
        self.steps, self.psis, self.judge = steps, psis, judge
        self.sums: dict[str, dict[str, Tensor]] = {label: {} for label in psis}

    def see(self, seen: Seen) -> None:
        rollout = seen.rollout
        steps = min(self.steps, len(rollout.mask))
        mask = rollout.mask[:steps].double()
        worth = torch.zeros_like(mask)
        if self.judge is not None:
            worth = (self.judge.action_values(rollout) - self.judge.values(rollout)[:-1])[:steps].double()
        good, bad = mask * (worth > LEVEL), mask * (worth < -LEVEL)
        for label, psi in self.psis.items():
            weight = psi(seen)[:steps].double()
            self.add(label, "count", mask)
            self.add(label, "sum", mask * weight)
            self.add(label, "squares", mask * weight.square())
            for name, those, sign in (("good", good, 1), ("bad", bad, -1)):
                self.add(label, name, those)
                self.add(label, f"{name}_sum", those * weight)
                self.add(label, f"{name}_wrong", those * (sign * weight < 0))

    def add(self, label: str, name: str, rows: Tensor) -> None:
        total = self.sums[label].setdefault(name, torch.zeros(self.steps, dtype=torch.float64))
        total[: len(rows)] += rows.sum(1).cpu()

    def result(self) -> dict[str, Any]:
        return {label: summarise_steps(sums) for label, sums in self.sums.items()}


def summarise_steps(sums: dict[str, Tensor]) -> dict[str, list[float | None]]:
    """Lists over time steps, None where there is no such row."""
    mean = sums["sum"] / sums["count"]
    summary = {"mean": mean, "std": (sums["squares"] / sums["count"] - mean.square()).clamp(min=0).sqrt()}
    for name in ("good", "bad"):
        summary[f"{name}_mean"] = sums[f"{name}_sum"] / sums[name]
        summary[f"{name}_wrong"] = sums[f"{name}_wrong"] / sums[name]
    counts = {name: sums[name].tolist() for name in ("count", "good", "bad")}
    return counts | {
        name: [None if x != x else x for x in values.tolist()] for name, values in summary.items()
    }
