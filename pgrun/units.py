"""Independent units of a rollout: its columns, or blocks of time where it has one column."""

from __future__ import annotations

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def by_unit(x: Tensor, units: int) -> Tensor:
    """Rows [T, N, …] in the order of their units [units·R, …]: columns, or blocks of one column, equal up to a row of zeros."""
    if x.shape[1] == 1 and units > 1:
        return pad_sequence(list(x.tensor_split(units)), batch_first=True).flatten(0, 2)
    return x.transpose(0, 1).flatten(0, 1)


def others(per_unit: Tensor) -> Tensor:
    """Σ_{j≠i} of each unit's share."""
    return per_unit.sum(0) - per_unit
