from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.returns import td_target
from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Td0(PerColumn, Discounted):
    """Ψₜ = δₜ = rₜ + γV(sₜ₊₁) − V(sₜ), nothing after a terminal state: the one-step advantage
    (Sutton & Barto 2018, §13.5).

    The least variance of the family; biased by γE[V̂ − V] at the next state wherever the critic is wrong.
    """

    uses_critic: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        target = td_target(rollout.reward, rollout.terminated, value[1:], gamma)
        return self.from_time(target - value[:-1], rollout, gamma)
