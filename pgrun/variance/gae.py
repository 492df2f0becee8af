from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pgrun.returns import lambda_return
from pgrun.schema import Probability
from pgrun.types import Rollout
from pgrun.variance.base import Discounted


@dataclass(frozen=True)
class Gae(Discounted):
    """Ψₜ = Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γV(sₜ₊₁) − V(sₜ): Generalised Advantage Estimation, Schulman et al. 2016, eq. 16.

    Computed as Gλ − V(sₜ). λ = 0 is the one-step TD error, λ = 1 Gₜ − V(sₜ).
    """

    lam: Probability = 0.95
    uses_critic: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        backed = lambda_return(rollout.reward, rollout.terminated, rollout.ended, value, gamma, self.lam)
        return self.from_time(backed - value[:-1], rollout, gamma)
