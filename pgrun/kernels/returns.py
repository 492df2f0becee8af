"""The backups of returns, one loop over time each. Equal to torch's to rounding.

The formulas stand in ``pgrun.returns``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pgrun.kernels.arrays import is_plain
from pgrun.kernels.jit import kernel

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = (torch.float32, torch.float64)


@kernel()
def fill_backup(a, b, last, out):
    """outₜ = aₜ + bₜ outₜ₊₁ and out_T = last, by columns: a, b, out [T, N], last [N]."""
    for n in range(a.shape[1]):
        x = last[n]
        for t in range(a.shape[0] - 1, -1, -1):
            x = a[t, n] + b[t, n] * x
            out[t, n] = x


@kernel()
def fill_lambda_return(reward, terminated, ended, value, gamma, lam, out):
    """The λ-return Gλ [T, N] of ``pgrun.returns``, into ``out``.

    ``reward``, ``terminated`` and ``ended`` [T, N], ``value`` [T+1, N], ``gamma`` [1], ``lam`` [T]; each
    operation in the type of the arrays, in torch's order.
    """
    one = reward.dtype.type(1)
    for n in range(reward.shape[1]):
        x = value[reward.shape[0], n]
        for t in range(reward.shape[0] - 1, -1, -1):
            discount, trace = gamma[0] * (one - terminated[t, n]), lam[t] * (one - ended[t, n])
            x = (reward[t, n] + discount * (one - trace) * value[t + 1, n]) + discount * trace * x
            out[t, n] = x


def can_loop(*tensors: Tensor) -> bool:
    """Whether these tensors are what the loops are for: plain, not empty, of one type of float.

    The first and the last are looked at: those between are made of the first one's kind.
    """
    first, last = tensors[0], tensors[-1]
    kind = first.dtype
    return kind in FLOATS and is_plain(first, kind) and is_plain(last, kind) and first.numel() > 0


def loop_backup(a: Tensor, b: Tensor, last: Tensor) -> Tensor:
    """``pgrun.returns.backup`` in one loop: [T, …]."""
    shape, dtype = a.shape, a.numpy().dtype
    columns = last.numel()
    parts = (np.ascontiguousarray(x.numpy(), dtype).reshape(-1, columns) for x in (a, b))
    out = np.empty((shape[0], columns), dtype)
    fill_backup(*parts, np.ascontiguousarray(last.numpy(), dtype).reshape(-1), out)
    return torch.from_numpy(out).view(shape)


def loop_lambda_return(
    reward: Tensor, terminated: Tensor, ended: Tensor, value: Tensor, gamma: float, lam: float | Tensor
) -> Tensor:
    """``pgrun.returns.lambda_return`` in one loop: [T, N]."""
    rewards = reward.numpy()
    dtype = rewards.dtype
    rest = (np.ascontiguousarray(x.numpy(), dtype) for x in (terminated, ended, value))
    out, by_time = np.empty(rewards.shape, dtype), np.empty(len(rewards), dtype)
    by_time[:] = lam.numpy().reshape(-1) if isinstance(lam, torch.Tensor) else lam
    fill_lambda_return(np.ascontiguousarray(rewards), *rest, np.array([gamma], dtype), by_time, out)
    return torch.from_numpy(out)
