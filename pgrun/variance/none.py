from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.returns import episode_return
from pgrun.types import Rollout
from pgrun.variance.base import PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class None_(PerColumn):
    """Ψₜ = r(τ) = Σ_{t'} γ^{t'} r_{t'}: every action gets the whole return (Williams 1992).

    Always discounted from the start, and unbiased for ∇J_γ.
    """

    whole_episodes: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma)
        return total.expand_as(rollout.reward)

    @property
    def has_constant_baseline(self) -> bool:
        return True
