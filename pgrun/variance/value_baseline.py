from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn, returns_to_go

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ValueBaseline(PerColumn, Discounted):
    """Ψₜ = Gₜ − V(sₜ), Monte Carlo, bootstrapped from V at a truncation or a cut
    (Sutton & Barto 2018, §13.4).

    A baseline of the state alone leaves the mean as it is; the bootstrap is unbiased only where V is exact.
    """

    uses_critic: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return self.from_time(returns_to_go(rollout, value, gamma) - value[:-1], rollout, gamma)
