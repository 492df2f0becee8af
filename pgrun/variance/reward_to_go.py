from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn, returns_to_go

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RewardToGo(PerColumn, Discounted):
    """Ψₜ = Gₜ = Σ_{t'≥t} γ^{t'−t} r_{t'}: an action is not credited with what came before it (causality).

    Sutton et al. 2000 (GPOMDP: Baxter & Bartlett 2001). Unbiased for ∇J_γ with ``discounting=from_start``.
    """

    whole_episodes: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return self.from_time(returns_to_go(rollout, value, gamma), rollout, gamma)
