from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.types import Rollout
from pgrun.variance.base import returns_to_go
from pgrun.variance.corrected import Corrected

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ActionBaseline(Corrected):
    """Ψₜ = Gₜ − Q̂(sₜ, aₜ), a baseline that depends on the action, and what it takes away given back:

        Σₜ (Gₜ − Q̂(sₜ, aₜ)) ∇log π(aₜ|sₜ) + Σₜ Σ_a π(a|sₜ) Q̂(sₜ, a) ∇log π(a|sₜ)

    (Gu et al. 2017, Q-Prop, eq. 8; Tucker et al. 2018, eq. 3). Unbiased for any Q̂; with the right Q the
    action's part of a term's variance is gone, and the rest's stays. ``corrected=false`` leaves the second
    sum out, and is biased by it: E[Q̂(s, a)∇log π(a|s)] is not 0.
    """

    corrected: bool = True  # whether the baseline's mean is given back
    whole_episodes: ClassVar[bool] = True

    @property
    def corrects_gradient(self) -> bool:
        return self.corrected

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        assert rollout.q is not None
        return self.from_time(returns_to_go(rollout, value, gamma) - rollout.q, rollout, gamma)
