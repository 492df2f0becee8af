from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.config.schema import NonNegative, Positive
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.optimization.schedules import OVER_THE_RUN, KindOfRadius, Schedule
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class EuclideanPg(Algorithm):
    """The steepest step in a Euclidean ball: Δθ = ε g/‖g‖ for ‖Δθ‖ ≤ ε (``ball=norm``), √ε g/‖g‖ for
    ‖Δθ‖² ≤ ε (``squared``).

    The foil of the natural gradient: the same distance in θ, whatever it does to the policy
    (watch ``step/kl_realised``). ``radius_schedule`` takes ε to ``radius_end`` over the run.
    """

    radius: Positive = 0.1  # ε, the length of a step in θ
    radius_schedule: KindOfRadius = "constant"
    radius_end: NonNegative = 0.0  # where linear and cosine take it
    ball: Literal["norm", "squared"] = "norm"  # ‖Δθ‖ = ε, or ‖Δθ‖² = ε
    told: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)

    takes_own_step: ClassVar[bool] = True
    read_when: ClassVar = {**Algorithm.read_when, "radius_end": ("radius_schedule", OVER_THE_RUN)}
    tags: ClassVar[tuple[str, ...]] = ("step/kl_realised",)

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        return {**super().schedules, "radius": Schedule(self.radius, self.radius_schedule, self.radius_end)}

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * log_prob).sum() / batch.count

    def improve(self, batch: Batch, learner: Learner) -> None:
        gradient = -self.loss_gradient(batch, learner)
        norm = gradient.norm()
        radius = self.schedules["radius"].value
        length = radius if self.ball == "norm" else radius**0.5
        learner.policy.theta.add_(torch.where(norm > 0, length / norm.clamp(min=1e-30), 0.0) * gradient)
        self.told = {"step/kl_realised": mean_kl(learner.policy, batch)}

    def scalars(self) -> dict[str, Tensor]:
        return self.told
