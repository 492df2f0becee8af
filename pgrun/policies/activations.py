"""The functions between the layers of a network, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["tanh", "relu", "gelu", "elu", "silu"]
FORWARD: dict[str, Callable[..., Tensor]] = {
    "tanh": lambda z: torch.tanh(z),
    "relu": lambda z: torch.relu(z),
    "gelu": lambda z: torch.nn.functional.gelu(z),  # z Φ(z), with the exact Φ: Hendrycks & Gimpel 2016
    "elu": lambda z: torch.nn.functional.elu(z),  # z, or e^z − 1 below 0: Clevert et al. 2016
    "silu": lambda z: torch.nn.functional.silu(z),  # z σ(z): Elfwing et al. 2018
}
# ∂L/∂z from ∂L/∂h and h itself.
BACKWARD: dict[str, Callable[..., Tensor]] = {
    "tanh": lambda grad, h: torch.ops.aten.tanh_backward(grad, h),
    "relu": lambda grad, h: torch.ops.aten.threshold_backward(grad, h, 0),
    "elu": lambda grad, h: torch.ops.aten.elu_backward(grad, 1.0, 1.0, 1.0, True, h),
}
# ∂L/∂z from ∂L/∂h and z, where two z have the same h.
BACKWARD_FROM_INPUT: dict[str, Callable[..., Tensor]] = {
    "gelu": lambda grad, z: torch.ops.aten.gelu_backward(grad, z),
    "silu": lambda grad, z: torch.ops.aten.silu_backward(grad, z),
}
IN_KERNELS = ("tanh", "relu")  # those that compiled networks have
IN_NUMPY: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # those of one or two operations
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
}
