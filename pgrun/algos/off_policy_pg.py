from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from pgrun.algos.base import Algorithm, Learner
from pgrun.schema import Positive, PositiveInt
from pgrun.types import Batch


@dataclass
class OffPolicyPg(Algorithm):
    """A batch of whole episodes of π_old reused for ``reuses`` steps of π_θ, with importance weights ρₖ = π_θ(aₖ|sₖ)/π_old(aₖ|sₖ):

        trajectory    1/N Σᵢ ∏_{all} ρ Σₜ gₜΨₜ                       unbiased
        per_decision  1/N Σᵢ Σₜ gₜ Σ_{t'≥t} r_{t'} ∏_{k≤t'} ρₖ       unbiased; Ψ of the rewards so weighted
        past_only     1/N Σᵢ Σₜ gₜ ∏_{k≤t} ρₖ Ψₜ                     biased: mean E_θ[Σ gₜ Q^{π_old}(sₜ,aₜ)]
        per_step      1/N Σᵢ Σₜ gₜ ρₜ Ψₜ                             first order: the ratio of state visits taken for 1

    Precup, Sutton & Singh 2000; Jie & Abbeel 2010. ``truncate`` caps each product (Ionides 2008); ``self_normalise`` divides the
    products of a time step by their mean over episodes. Both trade bias for variance.
    """

    weights: Literal["trajectory", "per_decision", "past_only", "per_step"] = "per_decision"
    reuses: PositiveInt = 4
    truncate: Positive | None = None
    self_normalise: bool = False

    samplers: ClassVar[tuple[str, ...]] = ("episodes",)

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """Its gradient is the estimate: the weights are constants in it."""
        log_ratio = (batch.mask * (log_prob - batch.log_prob)).detach().view(batch.shape)
        return (batch.mask * self.weighted_psi(log_ratio, batch) * log_prob).sum() / batch.count

    def weighted_psi(self, log_ratio: Tensor, batch: Batch) -> Tensor:
        """Weight times Ψ of each row [B], from log ρ [T, N], 0 where the mask is."""
        if self.weights == "per_decision":
            assert batch.reweigh is not None
            return batch.reweigh(self.tamed(log_ratio.cumsum(0).exp(), batch)).flatten()
        products = {
            "trajectory": lambda: log_ratio.sum(0).exp().expand(batch.shape),
            "past_only": lambda: log_ratio.cumsum(0).exp(),
            "per_step": lambda: log_ratio.exp(),
        }[self.weights]()
        return self.tamed(products, batch).flatten() * batch.psi

    def tamed(self, weight: Tensor, batch: Batch) -> Tensor:
        if self.truncate is not None:
            weight = weight.clamp(max=self.truncate)
        if self.self_normalise:
            mask = batch.mask.view(batch.shape)
            mean = (mask * weight).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
            weight = weight / mean.clamp(min=1e-30)
        return weight

    def improve(self, batch: Batch, learner: Learner) -> None:
        for _ in range(self.reuses):
            self.ascend(batch, learner)
