"""Schemes that add to Ψ∇log π what the policy does on average: sums over all actions of a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.policies.policy import Policy
from pgrun.types import Rollout
from pgrun.variance.base import Discounted, PerColumn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Corrected(PerColumn, Discounted):
    """cₜ = Σ_a π(a|sₜ) Q(sₜ, a) ∇log π(a|sₜ) of each row, beside Ψₜ∇log π(aₜ|sₜ)."""

    uses_critic: ClassVar[bool] = True
    uses_value: ClassVar[bool] = False
    uses_q: ClassVar[bool] = True
    uses_every_q: ClassVar[bool] = True

    @property
    def corrects_gradient(self) -> bool:
        return True

    @property
    def has_closed_form(self) -> bool:
        """No: without a unit its part of the correction is gone too."""
        return not self.corrects_gradient

    def params_correction(self, rollout: Rollout, gamma: float, policy: Policy) -> Tensor | None:
        """∂/∂logits of Σ_a π(a|s)Q(s, a) with Q held fixed: π(a|s)(Q(s, a) − Σ_b π(b|s)Q(s, b))."""
        if not self.corrects_gradient:
            return None
        assert rollout.every_q is not None
        pi, q = policy.params(rollout.obs[:-1]).softmax(-1), rollout.every_q
        delta = pi * (q - (pi * q).sum(-1, keepdim=True))
        return self.from_time(rollout.mask, rollout, gamma)[..., None] * delta

    def estimate(
        self, rollout: Rollout, value: Tensor, gamma: float, policy: Policy
    ) -> tuple[Tensor, Tensor | None]:
        psi, delta = self.psi(rollout, value, gamma), self.params_correction(rollout, gamma, policy)
        if delta is None:
            return psi, None
        kept = policy.activations(rollout.obs[:-1].flatten(0, 1))
        up = policy.output_delta(delta.flatten(0, 1), 0.0)
        return psi, policy.net.gradient(policy.layers, kept, up) / rollout.count
