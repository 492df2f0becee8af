"""Independent units of a rollout: its columns, or blocks of time where it has one column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def rows_by_unit(x: Tensor, units: int) -> Tensor:
    """Rows [T, N, …] in the order of their units [units·R, …]: columns, or blocks of one column, equal up to
    a row of zeros.
    """
    if x.shape[1] == 1 and units > 1:
        return torch.nn.utils.rnn.pad_sequence(list(x.tensor_split(units)), batch_first=True).flatten(0, 2)
    return x.transpose(0, 1).flatten(0, 1)


def sum_of_others(per_unit: Tensor) -> Tensor:
    """Σ_{j≠i} of each unit's share."""
    return per_unit.sum(0) - per_unit


@dataclass(frozen=True)
class DeleteOnePsi:
    """Ψ of the other units once unit i is left out: scaleᵢₜ·xₜⱼ − shiftᵢₜ."""

    x: Tensor  # [T, N]
    scale: Tensor  # [T, M], or [1, M] where it is the same at all times
    shift: Tensor  # [T, M] or [1, M]

    def centered(self, mask: Tensor) -> DeleteOnePsi:
        """The same Ψ written with x of mean 0, so that large sums do not cancel, in the mask's precision."""
        x, scale, shift = self.x.double(), self.scale.double(), self.shift.double()
        center = (mask * x).sum() / mask.sum().clamp(min=1)
        return DeleteOnePsi((x - center).to(mask), scale.to(mask), (shift - scale * center).to(mask))

    def discounted(self, factor: Tensor) -> DeleteOnePsi:
        """Ψ times a factor of time [T, 1]."""
        return replace(self, scale=self.scale * factor, shift=self.shift * factor)

    @staticmethod
    def by_row(coefficient: Tensor, rows: int) -> Tensor:
        """[T or 1, M] for each row in the order of units [M·T]."""
        return coefficient.expand(rows, -1).T.flatten()


def keep_psi(psi: Tensor, units: int) -> DeleteOnePsi:
    """Ψ of a unit does not depend on the others: leaving one out changes nothing."""
    return DeleteOnePsi(
        psi, torch.ones(1, units, dtype=psi.dtype, device=psi.device), psi.new_zeros(1, units)
    )
