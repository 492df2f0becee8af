"""Tensors as the arrays that kernels take, over the same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch._C._functorch import is_functorch_wrapped_tensor

if TYPE_CHECKING:
    from torch import Tensor

NO_CHOICE = np.zeros((0, 0), np.int64)
NO_VECTOR = np.zeros((0, 0), np.float32)
NO_NUMBERS = np.zeros(0, np.float32)


def is_plain(x: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether kernels can take torch's place for this tensor.

    It must be of type ``dtype``, on the CPU, and no part of a differentiation or of ``vmap``.
    """
    return (
        x.dtype == dtype
        and type(x) is torch.Tensor
        and not (x.is_cuda or x.requires_grad or is_functorch_wrapped_tensor(x))
    )


def to_array(x: Tensor) -> np.ndarray:
    """The tensor as float32 in C order; the same memory where it is that already."""
    return np.ascontiguousarray(x.numpy(), np.float32)


def to_rows(x: Tensor) -> np.ndarray:
    """The tensor [..., D] as float32 rows [B, D]; the same memory where it can be."""
    return to_array(x).reshape(-1, x.shape[-1])


class Buffers:
    """Flat float32 arrays by name, which grow when more is asked for.

    What they hold is only good until the next use.
    """

    def __init__(self) -> None:
        self.held: dict[str, np.ndarray] = {}

    def take(self, name: str, size: int, dtype: type = np.float32) -> np.ndarray:
        """The array of that name, with at least ``size`` entries, and whatever was left in them."""
        if name not in self.held or self.held[name].size < size:
            self.held[name] = np.zeros(size, dtype)
        return self.held[name]
