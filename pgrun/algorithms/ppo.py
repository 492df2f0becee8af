from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.algorithms.base import Learner, Repeated
from pgrun.config.schema import Positive
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.policies.importance import weighted_log_ratio
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Ppo(Repeated):
    """Proximal policy optimisation: L = 1/count Σ mask·min(ρA, clip(ρ, 1−ε, 1+ε)A), ρ = π_θ(a|s)/π_old(a|s).

    Schulman et al. 2017, eq. 7, in ``epochs`` of ``minibatches``. ``target_kl``: no further epoch once the
    exact mean KL(old‖new) over the batch exceeds it. ``clip_schedule=linear`` takes ε from ``clip`` to 0 over
    the run.
    """

    clip: Positive = 0.2  # ε: no gradient once a ratio is this far from 1
    target_kl: Positive | None = None
    clip_schedule: Literal["constant", "linear"] = "constant"
    clips: ClassVar[bool] = True
    epsilon: float = field(init=False, default=0.0)  # ε at this point of the run

    def __post_init__(self) -> None:
        self.epsilon = self.clip

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

    def set_progress(self, progress: float) -> None:
        decay = 1 - progress if self.clip_schedule == "linear" else 1.0
        self.epsilon = self.clip * max(decay, 0.0)
