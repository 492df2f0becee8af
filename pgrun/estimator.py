"""From a rollout to weights and targets: everything here is fixed while the update learns from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pgrun.critics.base import Critic
from pgrun.policies import Policy
from pgrun.types import Batch, Rollout
from pgrun.variance.base import Scheme

if TYPE_CHECKING:
    from torch import Tensor


EPSILON = 1e-8  # ε of the standardisation


def weigh_rewards(weight: Tensor, rollout: Rollout) -> Tensor:
    """w·r [T, N], and 0 where r is, however large the weight."""
    return torch.where(rollout.reward != 0, weight * rollout.reward, 0.0)


def standardise(psi: Tensor, mask: Tensor) -> Tensor:
    """(Ψ − μ)/√(σ² + ε) over rows with mask 1; biases the gradient (Andrychowicz et al. 2021, C67)."""
    count = mask.sum().clamp(min=1)
    mean = (psi * mask).sum() / count
    variance = ((psi - mean).square() * mask).sum() / count
    return (psi - mean) / (variance + EPSILON).sqrt()


@dataclass(frozen=True)
class Estimator:
    """Ψ and the critic's targets, from one rollout."""

    scheme: Scheme
    gamma: float
    advantage_norm: bool = False

    def psi(self, rollout: Rollout, value: Tensor, policy: Policy) -> tuple[Tensor, Tensor | None]:
        """(Ψ [T, N], correction [P] or None) as the update uses them."""
        psi, correction = self.scheme.estimate(rollout, value, self.gamma, policy)
        return standardise(psi, rollout.mask) if self.advantage_norm else psi, correction

    def batch(self, rollout: Rollout, value: Tensor, critic: Critic, policy: Policy) -> Batch:
        """Rows [T·N]; masked rows are zero wherever they could enter a sum."""
        psi, correction = self.psi(rollout, value, policy)
        batch = Batch(
            obs=rollout.obs[:-1],
            action=rollout.action,
            log_prob=rollout.log_prob,
            params=rollout.params,
            psi=psi * rollout.mask,
            mask=rollout.mask,
            value=value[:-1],
            target=critic.target(rollout, value, self.gamma),
            count=rollout.count,
            reward=rollout.raw_reward * rollout.mask,
            state=None if rollout.state is None else rollout.state[:-1],
            critics=None if rollout.drawn is None else critic.rows(rollout.drawn, self.gamma),
        )
        return replace(
            batch.flatten(),
            correction=correction,
            shape=tuple(psi.shape),
            reweigh=lambda w: self.psi(replace(rollout, reward=weigh_rewards(w, rollout)), value, policy)[0],
        )
