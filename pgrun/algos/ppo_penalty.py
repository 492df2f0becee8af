from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pgrun.algos.base import Learner, Repeated
from pgrun.distributions import Distribution
from pgrun.natural import mean_kl
from pgrun.schema import Positive
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PpoPenalty(Repeated):
    """PPO with an adaptive KL penalty: 1/count Σ mask·(ρΨ − β·KL(old‖new)) (Schulman et al. 2017, eq. 8).

    Once an iteration, with d the mean KL it has made: β ← β/2 if d < d_targ/1.5, β ← 2β if d > 1.5·d_targ.
    """

    target_kl: Positive = 0.01  # d_targ
    beta: Positive = 1.0  # before the first iteration
    penalty: float = field(init=False, default=0.0)  # β now

    tags: ClassVar[tuple[str, ...]] = ("step/beta",)

    def __post_init__(self) -> None:
        self.penalty = self.beta

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * (log_prob - batch.log_prob).exp()).sum() / batch.count

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return batch.mask * batch.psi * (log_prob - batch.log_prob).exp() / batch.count

    def params_gradient(self, params: Tensor, batch: Batch, dist: Distribution) -> Tensor:
        share = self.penalty / batch.count * batch.mask
        pull = share[:, None] * dist.kl_gradient(batch.params, params)
        return super().params_gradient(params, batch, dist) - pull

    def improve(self, batch: Batch, learner: Learner) -> None:
        super().improve(batch, learner)
        self.adapt(float(mean_kl(learner.policy, batch)))

    def adapt(self, kl: float) -> None:
        """The rule for β, from the KL of one iteration."""
        if kl < self.target_kl / 1.5:
            self.penalty /= 2
        elif kl > self.target_kl * 1.5:
            self.penalty *= 2

    def scalars(self) -> dict[str, Tensor]:
        return {"step/beta": torch.tensor(self.penalty)}

    def state_dict(self) -> dict[str, Any]:
        return {"penalty": self.penalty}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.penalty = state["penalty"]
