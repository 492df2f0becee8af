from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.config.schema import Positive
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class EuclideanPg(Algorithm):
    """The steepest step in a Euclidean ball: Δθ = ε g/‖g‖ for ‖Δθ‖ ≤ ε (``ball=norm``), √ε g/‖g‖ for
    ‖Δθ‖² ≤ ε (``squared``).

    The foil of the natural gradient: the same distance in θ, whatever it does to the policy
    (watch ``step/kl_realised``).
    """

    radius: Positive = 0.1  # ε, the length of a step in θ
    ball: Literal["norm", "squared"] = "norm"  # ‖Δθ‖ = ε, or ‖Δθ‖² = ε
    told: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)

    takes_own_step: ClassVar[bool] = True
    tags: ClassVar[tuple[str, ...]] = ("step/kl_realised",)

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * log_prob).sum() / batch.count

    def improve(self, batch: Batch, learner: Learner) -> None:
        gradient = -self.loss_gradient(batch, learner)
        norm = gradient.norm()
        length = self.radius if self.ball == "norm" else self.radius**0.5
        learner.policy.theta.add_(torch.where(norm > 0, length / norm.clamp(min=1e-30), 0.0) * gradient)
        self.told = {"step/kl_realised": mean_kl(learner.policy, batch)}

    def scalars(self) -> dict[str, Tensor]:
        return self.told
