from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Q(PerColumn, Discounted):
    """Ψₜ = Q(sₜ, aₜ): what is still to come, averaged over everything after the
    action (Sutton et al. 2000, theorem 1).

    Q comes from the exact critic of a tabular problem, or is fitted to replayed transitions.
    """

    uses_critic: ClassVar[bool] = True
    uses_value: ClassVar[bool] = False
    uses_q: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        assert rollout.q is not None
        return self.from_time(rollout.q, rollout, gamma)
