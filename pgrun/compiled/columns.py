"""The columns of a batch as the kernels of minibatches read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pgrun.kernels import minibatch as kernels
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


def stack_columns(batch: Batch, *extra: Tensor) -> np.ndarray:
    """A new table [columns, B] in the order of ``kernels.COLUMNS``, an algorithm's own columns behind them.

    Ψ is there twice: as it came, and with the norm that a minibatch gives it.
    """
    by_name = {name: getattr(batch, name) for name in kernels.COLUMNS if name != "raw_psi"}
    columns = [by_name.get(name, batch.psi) for name in kernels.COLUMNS]
    return torch.stack([*columns, *extra]).numpy()
