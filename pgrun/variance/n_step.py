from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.config.schema import PositiveInt
from pgrun.returns import n_step_return
from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NStep(PerColumn, Discounted):
    """Ψₜ = Σ_{k<n} γᵏ rₜ₊ₖ + γⁿV(sₜ₊ₙ) − V(sₜ), no bootstrap after a termination (Sutton & Barto 2018, §7.1).

    n = 1 is ``td0``, n = ∞ ``value_baseline``: less variance and, where V is wrong, more bias the smaller n
    is.
    """

    n: PositiveInt = 5  # rewards before V is taken
    uses_critic: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        target = n_step_return(rollout.reward, rollout.terminated, rollout.ended, value, gamma, self.n)
        return self.from_time(target - value[:-1], rollout, gamma)
