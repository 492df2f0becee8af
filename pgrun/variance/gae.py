from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pgrun.config.schema import Probability
from pgrun.returns import lambda_return
from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Gae(PerColumn, Discounted):
    """Ψₜ = Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γV(sₜ₊₁) − V(sₜ): Generalised Advantage
    Estimation, Schulman et al. 2016, eq. 16.

    Computed as Gλ − V(sₜ). λ = 0 is the one-step TD error, λ = 1 Gₜ − V(sₜ): less variance and, where V is
    wrong, more bias the smaller λ is.

    ``normalised`` is the mean of the k-step advantages Â⁽ᵏ⁾ = Σ_{j<k} γʲ δₜ₊ⱼ with weights wₖ = λᵏ⁻¹ that sum
    to 1:

        Ψₜ = Σ_{k≤K} wₖÂ⁽ᵏ⁾ / Σ_{k≤K} wₖ = (GAE_λ − λᴷ GAE_1)/(1 − λᴷ),   K = T − t rows of the rollout left,

    at λ = 1 their plain average, which is not Monte Carlo. Beyond an episode's end every Â⁽ᵏ⁾ is the one up
    to the end. K must be known at time t: were it the steps left in the *episode*, which the actions decide,
    Ψ would be biased even with the exact V.
    """

    lam: Probability = 0.95  # λ: 0 is TD(0), 1 the return minus V
    normalised: bool = False
    uses_critic: ClassVar[bool] = True

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        lam = self.falling(rollout.reward) if self.normalised else self.lam
        backed = lambda_return(rollout.reward, rollout.terminated, rollout.ended, value, gamma, lam)
        return self.from_time(backed - value[:-1], rollout, gamma)

    def falling(self, like: Tensor) -> Tensor:
        """The λₜ = 1 − 1/Σ_{k≤K} wₖ of an ordinary GAE that is the normalised one [T, 1]: W_K Ψₜ = W_K
        δₜ + γλ W_{K−1} Ψₜ₊₁.

        It divides by no 1 − λᴷ, which cancels as λ → 1.
        """
        powers = self.lam ** torch.arange(len(like), dtype=torch.float64, device=like.device)
        return (1 - 1 / powers.cumsum(0)).flip(0)[:, None].to(like.dtype)
