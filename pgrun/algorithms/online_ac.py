from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.algorithms.base import Algorithm
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class OnlineAc(Algorithm):
    """An update at every transition, one TD error for both (Sutton & Barto 2018, §13.5):

        δ = r + γ(1 − d)V(s') − V(s),   φ ← φ + βδ∇V(s),   θ ← θ + αδ∇log π(a|s)

    δ is taken before φ moves, and its target is held fixed: the gradient of δ² through V(s') would be another
    algorithm (the 2 of ∇δ² is in β). Small batches, ``sampler.steps``, take n_step or gae as well.
    The book's step of θ has a factor γᵗ more, which is left out as usual.
    """

    samplers: ClassVar[tuple[str, ...]] = ("steps",)
    allowed_schemes: ClassVar[tuple[str, ...]] = ("td0", "n_step", "gae")

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * log_prob).sum() / batch.count

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return batch.mask * batch.psi / batch.count
