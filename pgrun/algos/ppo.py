from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from pgrun.algos.base import Learner, Repeated
from pgrun.schema import Positive
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Ppo(Repeated):
    """Proximal policy optimisation: L = 1/count Σ mask·min(ρA, clip(ρ, 1−ε, 1+ε)A), ρ = π_θ(a|s)/π_old(a|s).

    Schulman et al. 2017, eq. 7, in ``epochs`` of ``minibatches``. ``target_kl``: no further epoch once the exact mean
    KL(old‖new) over the batch exceeds it. ``clip_schedule=linear`` takes ε from ``clip`` to 0 over the run.
    """

    clip: Positive = 0.2
    target_kl: Positive | None = None
    clip_schedule: Literal["constant", "linear"] = "constant"
    clips: ClassVar[bool] = True
    epsilon: float = field(init=False, default=0.0)  # ε at this point of the run

    def __post_init__(self) -> None:
        self.epsilon = self.clip

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        ratio = (log_prob - batch.log_prob).exp()
        near = ratio.clamp(1 - self.epsilon, 1 + self.epsilon)
        return (batch.mask * (ratio * batch.psi).minimum(near * batch.psi)).sum() / batch.count

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """mask·ρA/count, and 0 where the clip is active: there the minimum is constant."""
        ratio = (log_prob - batch.log_prob).exp()
        live = batch.mask * ~self.clipped(ratio, batch)
        return live * ratio * batch.psi / batch.count

    def clipped(self, ratio: Tensor, batch: Batch) -> Tensor:
        above = (batch.psi > 0) & (ratio > 1 + self.epsilon)
        return above | ((batch.psi < 0) & (ratio < 1 - self.epsilon))

    def stops(self, batch: Batch, learner: Learner) -> bool:
        if self.target_kl is None:
            return False
        policy = learner.policy
        kl = policy.dist.kl(batch.params, policy.params(batch.obs))
        return bool((kl * batch.mask).sum() / batch.mask.sum().clamp(min=1) > self.target_kl)

    def set_progress(self, progress: float) -> None:
        decay = 1 - progress if self.clip_schedule == "linear" else 1.0
        self.epsilon = self.clip * max(decay, 0.0)
