from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.algorithms.base import Repeated
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class A2c(Repeated):
    """Batch actor-critic: ``epochs`` × ``minibatches`` actor steps on L = 1/count Σ mask·Ψ·log π(a|s)
    (Mnih et al. 2016).

    Only the first of several steps is a gradient of J: the later ones use the same Ψ under a policy that has
    moved (watch ``kl/old_new``).
    """

    takes_reference: ClassVar[bool] = True

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * log_prob).sum() / batch.count
