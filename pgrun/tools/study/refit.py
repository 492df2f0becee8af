"""critic.fit=before: V fitted to the very episodes of an estimate before Ψ is taken from it, as batch
actor-critic is often written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.critics.fitted import SeparateCritic
from pgrun.policies.policy import Policy
from pgrun.types import Rollout
from pgrun.variance.value_baseline import ValueBaseline

if TYPE_CHECKING:
    from torch import Tensor


class Refitted:
    """V of each group of ``batch`` columns, fitted to them by ``critic.epochs`` from
    the same V; that V stays as it is.
    """

    fits_first = True

    def __init__(
        self, critic: SeparateCritic, policy: Policy, batch: int, gamma: float, shuffle: torch.Generator
    ):
        self.critic, self.policy, self.batch = critic, policy, batch
        self.estimator, self.shuffle = Estimator(ValueBaseline(), gamma), shuffle

    def values(self, rollout: Rollout) -> Tensor:
        columns = torch.arange(rollout.mask.shape[1])
        return torch.cat([self.of(rollout.columns(group)) for group in torch.split(columns, self.batch)], 1)

    def of(self, group: Rollout) -> Tensor:
        critic = self.critic
        before = critic.phi.clone()
        optimizer = {name: x.clone() for name, x in critic.optimizer.state_dict().items()}
        rows = self.estimator.batch(group, critic.values(group), critic, self.policy)
        critic.fit(rows.rows(rows.mask > 0), self.shuffle)
        value = critic.values(group)
        critic.phi.copy_(before)
        critic.optimizer.load_state_dict(optimizer)
        return value

    def action_values(self, rollout: Rollout) -> Tensor:
        raise NotImplementedError
