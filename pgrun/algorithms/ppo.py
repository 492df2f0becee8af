from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch

from pgrun.algorithms.base import Learner, Repeated
from pgrun.config.schema import NonNegative, Positive
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.optimization.schedules import OVER_THE_RUN, Kind, Schedule
from pgrun.policies.importance import weighted_log_ratio
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Ppo(Repeated):
    """Proximal policy optimisation: L = 1/count Σ mask·min(ρA, clip(ρ, 1−ε, 1+ε)A), ρ = π_θ(a|s)/π_old(a|s).

    Schulman et al. 2017, eq. 7, in ``epochs`` of ``minibatches``. ``target_kl``: no further epoch once the
    exact mean KL(old‖new) over the batch exceeds it. ``clip_schedule=linear`` or ``cosine`` takes ε from
    ``clip`` to ``clip_end`` over the run; ``kl`` keeps an update's KL near ``clip_target_kl`` by it.
    """

    clip: Positive = 0.2
    target_kl: Positive | None = None
    clip_schedule: Kind = "constant"
    clip_end: NonNegative = 0.0
    clip_target_kl: Positive = 0.01
    epsilon: float = field(init=False, default=0.0)  # ε at this point of the run
    has_clip: ClassVar[bool] = True
    read_when: ClassVar = {
        **Repeated.read_when,
        "clip_end": ("clip_schedule", OVER_THE_RUN),
        "clip_target_kl": ("clip_schedule", "kl"),
    }

    def __post_init__(self) -> None:
        self.epsilon = self.clip

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        clip = Schedule(self.clip, self.clip_schedule, self.clip_end, self.clip_target_kl)
        return {**super().schedules, "clip": clip}

    def follow_schedules(self) -> None:
        self.epsilon = self.schedules["clip"].value

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        ratio = weighted_log_ratio(log_prob, batch).exp()
        near = ratio.clamp(1 - self.epsilon, 1 + self.epsilon)
        return (batch.mask * (ratio * batch.psi).minimum(near * batch.psi)).sum() / batch.count

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """mask·ρA/count, and 0 where the clip is active, though ρ be infinite: there
        the minimum is constant.
        """
        ratio = weighted_log_ratio(log_prob, batch).exp()
        live = (batch.mask > 0) & ~self.clipped(ratio, batch)
        return torch.where(live, ratio * batch.psi, 0.0) / batch.count

    def clipped(self, ratio: Tensor, batch: Batch) -> Tensor:
        above = (batch.psi > 0) & (ratio > 1 + self.epsilon)
        return above | ((batch.psi < 0) & (ratio < 1 - self.epsilon))

    def stops(self, batch: Batch, learner: Learner) -> bool:
        return self.target_kl is not None and bool(mean_kl(learner.policy, batch) > self.target_kl)
