"""From a rollout to weights and targets: everything here is fixed while the update learns from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pgrun.config.own_code import require_pair, require_shape
from pgrun.config.settings import AdvantageNorm
from pgrun.critics.base import Critic
from pgrun.policies.policy import Policy
from pgrun.types import Batch, Rollout
from pgrun.variance.advantage_norm import normalise_advantages
from pgrun.variance.base import Scheme

if TYPE_CHECKING:
    from torch import Tensor


def weigh_rewards(weight: Tensor, rollout: Rollout) -> Tensor:
    """w·r [T, N], and 0 where r is, however large the weight."""
    return torch.where(rollout.reward != 0, weight * rollout.reward, 0.0)


@dataclass(frozen=True)
class Estimator:
    """Ψ and the critic's targets, from one rollout."""

    scheme: Scheme
    gamma: float
    advantage_norm: AdvantageNorm = "none"

    def psi(self, rollout: Rollout, value: Tensor, policy: Policy) -> tuple[Tensor, Tensor | None]:
        """(Ψ [T, N], correction [P] or None) as the update uses them."""
        scheme = self.scheme
        pair = scheme.estimate(rollout, value, self.gamma, policy)
        psi, correction = require_pair(scheme.estimate, pair, policy.theta)
        writer = scheme.estimate if scheme.sees_scores else scheme.psi
        require_shape(writer, psi, tuple(rollout.mask.shape), rollout.reward)
        return normalise_advantages(psi, rollout.mask, self.advantage_norm), correction

    def weigh(self, rollout: Rollout, critic: Critic, policy: Policy) -> tuple[Rollout, Tensor, Batch]:
        """(the rollout with Q where the scheme reads it, V [T+1, N], what an update learns from)."""
        rollout, value = with_values(rollout, critic, self.scheme)
        return rollout, value, self.batch(rollout, value, critic, policy)

    def batch(self, rollout: Rollout, value: Tensor, critic: Critic, policy: Policy) -> Batch:
        """Rows [T·N]; masked rows are zero wherever they could enter a sum."""
        psi, correction = self.psi(rollout, value, policy)
        learned_from = rollout if rollout.replayed_from is None else rollout.replayed_from
        return Batch(
            **rollout.flattened_rows(),
            psi=(psi * rollout.mask).flatten(),
            value=value[:-1].flatten(),
            target=critic.target(rollout, value, self.gamma).flatten(),
            critic_rows=critic.rows(learned_from, self.gamma),
            correction=correction,
            shape=tuple(psi.shape),
            gamma=self.gamma,
            psi_for_weighted_rewards=lambda w: self.psi(
                replace(rollout, reward=weigh_rewards(w, rollout)), value, policy
            )[0],
        )


def with_values(rollout: Rollout, critic: Critic, scheme: Scheme) -> tuple[Rollout, Tensor]:
    """(the rollout with Q where the scheme reads it, V [T+1, N] where it reads that)."""
    if scheme.uses_q and rollout.q is None:
        rollout = replace(rollout, q=critic.action_values(rollout))
    if scheme.uses_every_q:
        rollout = replace(rollout, every_q=critic.every_action_value(rollout))
    if scheme.uses_value:
        return rollout, critic.values(rollout)
    return rollout, rollout.obs.new_zeros(rollout.obs.shape[:-1])
