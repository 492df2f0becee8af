"""From a rollout to weights and targets: everything here is fixed while the update learns from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pgrun.config.settings import AdvantageNorm
from pgrun.critics.base import Critic
from pgrun.errors import MethodFault
from pgrun.policies.policy import Policy
from pgrun.types import Batch, Rollout
from pgrun.variance.advantage_norm import normalise_advantages
from pgrun.variance.base import Scheme

if TYPE_CHECKING:
    from torch import Tensor


def weigh_rewards(weight: Tensor, rollout: Rollout) -> Tensor:
    """w·r [T, N], and 0 where r is, however large the weight."""
    return torch.where(rollout.reward != 0, weight * rollout.reward, 0.0)


def check_shape(psi: object, rollout: Rollout, scheme: Scheme) -> None:
    """A vector would be broadcast over the rows, and train something else in silence."""
    expected = tuple(rollout.mask.shape)
    if isinstance(psi, torch.Tensor) and tuple(psi.shape) == expected:
        return
    shape = f"a tensor {list(psi.shape)}" if isinstance(psi, torch.Tensor) else type(psi).__name__
    raise MethodFault(
        f"variance: {type(scheme).__name__}.psi returned {shape}; a tensor [T, N] is needed, here "
        f"{list(expected)}: a weight for each row of rollout.reward"
    )


@dataclass(frozen=True)
class Estimator:
    """Ψ and the critic's targets, from one rollout."""

    scheme: Scheme
    gamma: float
    advantage_norm: AdvantageNorm = "none"

    def psi(self, rollout: Rollout, value: Tensor, policy: Policy) -> tuple[Tensor, Tensor | None]:
        """(Ψ [T, N], correction [P] or None) as the update uses them."""
        psi, correction = self.scheme.estimate(rollout, value, self.gamma, policy)
        check_shape(psi, rollout, self.scheme)
        return normalise_advantages(psi, rollout.mask, self.advantage_norm), correction

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
