from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Advantage(PerColumn, Discounted):
    """Ψₜ = A(sₜ, aₜ) = Q(sₜ, aₜ) − V(sₜ), V(s) = Σ_a π(a|s)Q(s, a) (Baird 1993): the ``q`` weight with the
    state's mean taken off.
    """

    uses_critic: ClassVar[bool] = True
    uses_q: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        assert rollout.q is not None
        return self.from_time(rollout.q - value[:-1], rollout, gamma)
