"""A policy ρ that training is kept near, at a price: J − β E Σₜ KL(π(·|sₜ)‖ρ(·|sₜ))."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from pgrun.config.settings import Reference
from pgrun.policies.continuous import StateStdGaussian
from pgrun.policies.distributions import Distribution
from pgrun.policies.kl_estimators import estimate_kl
from pgrun.policies.policy import Policy
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor

ROWS = "reference_params"  # in ``extra``: ρ's parameters [T, N, K]


class ReferencePenalty:
    """ρ, and what it costs to leave it (Jaques et al. 2017; Ziegler et al. 2019, eq. 2; Shao et al. 2024).

    With l = log π(a|s) − log ρ(a|s) and k an estimate of KL(π‖ρ) from it (Schulman 2020), at γ = 1:

      place=reward  rₜ − βk(lₜ), paid as if it did not depend on θ. k1 has the mean ∇(J − βD), D = E Σₜ KL,
                    for what is left out, E ∇k1, is 0. exact misses its own derivative; k2 and k3 theirs.
      place=loss    L − β/count Σ mask·k(lₜ), differentiated as it stands: what actions do to later states is
                    left out. exact and k2 have the gradient of Σₜ KL at the states as they are visited; k1
                    has mean 0, and k3 the gradient of the other KL, KL(ρ‖π).
      place=both    the sum: ∇(J − βE Σₜ k), so that exact, k1 and k3 are unbiased for ∇(J − βD).

    ``exact`` is the distribution's own KL. β is in units of the reward that is learned from. The loss's part
    is no part of ``gradient/variance``, and has no factor γ^t; after the first step of a batch its actions
    are those of π_old.
    """

    tags = ("kl/reference",)

    def __init__(self, settings: Reference, policy: Policy):
        """``policy``: ρ, which nothing moves from now on."""
        self.settings, self.policy = settings, policy

    @classmethod
    def of_start(cls, settings: Reference, policy: Policy) -> ReferencePenalty:
        """ρ = π as it is now, its statistics of states included."""
        near = policy.with_theta(policy.theta.clone())
        near.normaliser = deepcopy(policy.normaliser)
        return cls(settings, near)

    def charge(self, rollout: Rollout, dist: Distribution) -> Rollout:
        """The rollout with ρ's parameters of each row, and with rewards less βk where that is the place."""
        near = self.policy
        seen = near.normaliser(rollout.raw_obs[:-1]).to(near.theta.dtype)
        params = with_start_of_log_std(near.params(seen), near.dist, dist).to(rollout.params)
        charged = replace(rollout, extra={**rollout.extra, ROWS: params})
        if self.settings.place == "loss":
            return charged
        if self.settings.estimator == "exact":
            cost = dist.kl(rollout.params, params)
        else:
            log_ratio = rollout.log_prob - dist.log_prob(params, rollout.action)
            cost = estimate_kl(self.settings.estimator, log_ratio)[0]
        paid = torch.where(rollout.mask > 0, self.settings.beta * cost, 0.0)
        return replace(charged, reward=rollout.reward - paid)

    def loss_slope(self, params: Tensor, batch: Batch, dist: Distribution) -> Tensor | float:
        """∂(β/count Σ mask·k)/∂params [B, K]; 0 where it is paid in the reward alone."""
        if self.settings.place == "reward":
            return 0.0
        near = batch.extra[ROWS]
        if self.settings.estimator == "exact":
            slope = kl_slope(dist, params, near)
        else:
            log_ratio = dist.log_prob(params, batch.action) - dist.log_prob(near, batch.action)
            _, by_ratio = estimate_kl(self.settings.estimator, log_ratio)
            slope = by_ratio[:, None] * dist.score(params, batch.action)
        share = self.settings.beta / batch.count
        return torch.where(batch.mask[:, None] > 0, share * slope, 0.0)

    def scalars(self, policy: Policy, batch: Batch) -> dict[str, Tensor]:
        """kl/reference: the exact mean KL(π‖ρ) over the update's states, of the new π."""
        kl = policy.dist.kl(policy.params(batch.obs), batch.extra[ROWS])
        return {"kl/reference": torch.where(batch.mask > 0, kl, 0.0).sum() / batch.mask.sum().clamp(min=1)}

    def state_dict(self) -> dict[str, Any]:
        return self.policy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.policy.load_state_dict(state)


def with_start_of_log_std(params: Tensor, of: Distribution, dist: Distribution) -> Tensor:
    """Parameters of ``of`` as those of ``dist``: where a policy tells log σ from a start of its own, and the
    two have another one, that of ``dist``.
    """
    if not (isinstance(of, StateStdGaussian) and isinstance(dist, StateStdGaussian)):
        return params
    mean, rest = params[..., : dist.dims], params[..., dist.dims :]
    return torch.cat([mean, rest + (of.offset - dist.offset)], -1)


def kl_slope(dist: Distribution, params: Tensor, near: Tensor) -> Tensor:
    """∂KL(π‖ρ)/∂(π's params) [B, K], by automatic differentiation of the distribution's own KL."""
    with torch.enable_grad():
        moved = params.detach().requires_grad_()
        return torch.autograd.grad(dist.kl(moved, near).sum(), moved)[0]
