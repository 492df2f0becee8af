"""What is no estimate of ∇J: terms whose mean is 0. For studies alone, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pgrun.types import Rollout
from pgrun.variance.base import PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Score(PerColumn):
    """Ψₜ = 1: the score alone, E[∇log π(a|s)] = 0 (the expected score; why a constant may be subtracted)."""

    whole_episodes: ClassVar[bool] = True
    mean_zero: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return torch.ones_like(rollout.reward)


@dataclass(frozen=True)
class Past(PerColumn):
    """Ψₜ = Σ_{t'<t} γ^{t'} r_{t'}: what reward-to-go leaves out of the whole return.

    Its mean is 0, its variance is not.
    """

    whole_episodes: ClassVar[bool] = True
    mean_zero: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        earned = rollout.mask * gamma**rollout.time * rollout.reward
        return torch.cat([torch.zeros_like(earned[:1]), earned.cumsum(0)[:-1]])
