"""From a rollout to weights and targets: everything here is fixed while the update learns from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from pgrun.algorithms.base import Algorithm
from pgrun.config.own_code import require_pair, require_shape
from pgrun.config.settings import AdvantageNorm
from pgrun.critics.base import Critic
from pgrun.policies.policy import Policy
from pgrun.types import Batch, Rollout
from pgrun.variance.advantage_norm import normalise_advantages
from pgrun.variance.base import Scheme

if TYPE_CHECKING:
    from torch import Tensor


SAME_PSI = 1e-4  # of the largest: ratios of one policy are 1 but for the rounding of log π


def weigh_rewards(weight: Tensor, rollout: Rollout) -> Tensor:
    """w·r [T, N], and 0 where r is, however large the weight."""
    return torch.where(rollout.reward != 0, weight * rollout.reward, 0.0)


@dataclass(frozen=True)
class Estimator:
    """Ψ and the critic's targets, from one rollout."""

    scheme: Scheme
    gamma: float
    advantage_norm: AdvantageNorm = "none"

    def has_closed_form(self, rollout: Rollout) -> bool:
        """Whether the scheme tells Ψ without one unit of the rollout at once."""
        return self.scheme.has_closed_form and (rollout.group == 1 or self.scheme.leaves_groups_out)

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
        """What an update learns from, and its critic."""
        learned_from = rollout if rollout.replayed_from is None else rollout.replayed_from
        rows = self.rows(rollout, value, critic, policy)
        return replace(rows, critic_rows=critic.rows(learned_from, self.gamma))

    def rows(self, rollout: Rollout, value: Tensor, critic: Critic, policy: Policy) -> Batch:
        """Rows [T·N]; masked rows are zero wherever they could enter a sum."""
        psi, correction = self.psi(rollout, value, policy)
        return Batch(
            **rollout.flattened_rows(),
            psi=(psi * rollout.mask).flatten(),
            value=value[:-1].flatten(),
            target=critic.target(rollout, value, self.gamma).flatten(),
            correction=correction,
            shape=tuple(psi.shape),
            gamma=self.gamma,
            psi_for_weighted_rewards=lambda w: self.psi(
                replace(rollout, reward=weigh_rewards(w, rollout)), value, policy
            )[0],
        )


@dataclass(frozen=True)
class SurrogateEstimator(Estimator):
    """Ψ as the surrogate of an algorithm weighs it at the present θ, where that is not the scheme's: with a
    cap on every ratio, V-trace's sums, a ratio of whole episodes, or a term of one's own.
    """

    algorithm: Algorithm = field(kw_only=True)
    critic: Critic = field(kw_only=True)

    def has_closed_form(self, rollout: Rollout) -> bool:
        return False

    def psi(self, rollout: Rollout, value: Tensor, policy: Policy) -> tuple[Tensor, Tensor | None]:
        scheme = Estimator(self.scheme, self.gamma, self.advantage_norm)
        batch = scheme.rows(rollout, value, self.critic, policy)
        return self.algorithm.effective_psi(batch, policy).view(batch.shape), batch.correction


def choose_estimator(
    scheme: Estimator, algorithm: Algorithm, batch: Batch, critic: Critic, policy: Policy
) -> Estimator:
    """The estimator whose Ψ the first step on ``batch`` goes along: that of the scheme, or of the surrogate
    where the two are apart by more than rounding.
    """
    psi = batch.mask * batch.psi
    apart = (algorithm.effective_psi(batch, policy) - psi).abs().max()
    if bool(apart <= SAME_PSI * psi.abs().max()):
        return scheme
    return SurrogateEstimator(**vars(scheme), algorithm=algorithm, critic=critic)


def with_values(rollout: Rollout, critic: Critic, scheme: Scheme) -> tuple[Rollout, Tensor]:
    """(the rollout with Q where the scheme reads it, V [T+1, N] where it reads that)."""
    if scheme.uses_q and rollout.q is None:
        rollout = replace(rollout, q=critic.action_values(rollout))
    if scheme.uses_every_q:
        rollout = replace(rollout, every_q=critic.every_action_value(rollout))
    if scheme.uses_value:
        return rollout, critic.values(rollout)
    return rollout, rollout.obs.new_zeros(rollout.obs.shape[:-1])
