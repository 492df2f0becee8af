"""Tensors of several runs copied side by side before a piece of work, and back after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from pgrun.critics.fitted import SeparateCritic
from pgrun.envs.tensor_program import TensorProgram
from pgrun.policies.normalization import RewardScale, RunningNorm

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.training.build import Run


class Gathered:
    """``stacked``: [S, …] each, which stay where they are. ``find``: the tensors of every run, by name."""

    def __init__(self, find: Callable[[], Sequence[dict[str, Tensor]]]):
        self.find = find
        self.stacked = {name: torch.stack([own[name] for own in find()]) for name in find()[0]}

    def gather(self) -> None:
        every = self.find()
        for name, x in self.stacked.items():
            torch.stack([own[name] for own in every], out=x)

    def scatter(self, *names: str) -> None:
        """Give the runs back what was changed: these tensors, or all."""
        every, chosen = self.find(), names or tuple(self.stacked)
        theirs = [own[name] for name in chosen for own in every]
        torch._foreach_copy_(theirs, [row for name in chosen for row in self.stacked[name].unbind()])


def find_numbers(run: Run) -> dict[str, Tensor]:
    """θ, φ, and what normalises, of a run."""
    numbers, critic, norm = {"theta": run.policy.theta}, run.learner.critic, run.policy.normaliser
    if isinstance(critic, SeparateCritic):
        numbers["phi"] = critic.phi
    if isinstance(norm, RunningNorm):
        numbers |= {"mean": norm.mean, "scale": norm.scale}
    if isinstance(run.scale, RewardScale):
        numbers["divisor"] = run.scale.divisor
    return numbers


class StackedProgram(TensorProgram):
    """The columns of several tensor programs, one after the other. Each draws its own first states."""

    def __init__(self, members: Sequence[TensorProgram]):
        first = members[0]
        super().__init__(first.one, len(members) * first.num_envs, str(first.device))
        self.members, self.force = members, first.force
        inner = self.INNER
        self.inner = Gathered(lambda: [{name: getattr(x, name) for name in inner} for x in members])
        for name, x in self.inner.stacked.items():
            setattr(self, name, x.flatten(0, 1))

    def draw_starts(self, steps: int) -> Tensor:
        return torch.cat([member.draw_starts(steps) for member in self.members], 1)
