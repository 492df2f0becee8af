from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pgrun.algorithms.base import Algorithm
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Reinforce(Algorithm):
    """One ascent step along ∇J ≈ 1/N Σᵢ Σₜ Ψᵢₜ ∇log π(aₜ|sₜ) on N whole episodes (Williams 1992, theorem 2).

    The gradient of L = 1/N Σᵢ Σₜ Ψᵢₜ log π(aₜ|sₜ), Ψ held fixed.
    """

    samplers: ClassVar[tuple[str, ...]] = ("episodes",)
    takes_reference: ClassVar[bool] = True

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * log_prob).sum() / batch.count
