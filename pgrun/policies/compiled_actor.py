"""Acting of a policy in one kernel call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.kernels.acting import act_rows, transpose_layers
from pgrun.policies.activations import IN_KERNELS
from pgrun.policies.continuous import TanhGaussian
from pgrun.policies.distributions import Categorical, Gaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm, RunningNorm

if TYPE_CHECKING:
    from torch import Tensor


def can_act(policy: Any) -> bool:
    """Whether these kernels know such a policy."""
    known = isinstance(policy.net, Mlp) and isinstance(policy.dist, Categorical | Gaussian)
    known = known and policy.net.activation in IN_KERNELS and not isinstance(policy.dist, TanhGaussian)
    float32 = policy.theta.device.type == "cpu" and policy.theta.dtype == torch.float32
    return known and float32 and type(policy.normaliser) in (NoStateNorm, RunningNorm)


@dataclass(frozen=True)
class Acting:
    """What a kernel needs of a policy: views of its θ and of its normaliser's statistics."""

    theta: np.ndarray
    sizes: np.ndarray  # of the layers, input first
    head: int  # 1: the first output is V(s)
    bias: bool
    relu: bool
    gaussian: bool
    normalised: bool
    mean: np.ndarray  # [D], or nothing
    scale: np.ndarray

    @classmethod
    def of(cls, policy: Any) -> Acting:
        net, normaliser = policy.net, policy.normaliser
        assert isinstance(net, Mlp)
        normalised = isinstance(normaliser, RunningNorm)
        nothing = np.zeros(0)
        return cls(
            theta=policy.theta.numpy(),
            sizes=np.array([net.inputs, *(out for out, _ in net.shapes)]),
            head=policy.value_outputs,
            bias=net.bias,
            relu=net.activation == "relu",
            gaussian=isinstance(policy.dist, Gaussian),
            normalised=normalised,
            mean=normaliser.mean.numpy() if isinstance(normaliser, RunningNorm) else nothing,
            scale=normaliser.scale.numpy() if isinstance(normaliser, RunningNorm) else nothing,
        )

    @cached_property
    def arguments(self) -> tuple[Any, ...]:
        """In the order of the kernels' own."""
        shape = self.sizes, self.head, self.bias, self.relu, self.gaussian
        return self.theta, *shape, self.normalised, self.mean, self.scale


class CompiledActor:
    """``NumpyActor`` in one call, for policies that ``can_act`` knows."""

    def __init__(self, policy: Any):
        acting = Acting.of(policy)
        layers = np.empty(len(acting.theta) + acting.sizes.sum(), np.float32)
        transpose_layers(acting.theta, acting.sizes, acting.head, acting.bias, layers)
        self.policy, self.actions = policy, policy.dist.linear
        self.arguments = (
            *(layers, policy.free.numpy(), acting.sizes, acting.head, acting.relu, acting.gaussian),
            *(acting.normalised, acting.mean, acting.scale),
        )

    def __call__(self, raw_obs: np.ndarray, noise: Tensor | None) -> np.ndarray:
        given = np.zeros((1, 1), np.float32) if noise is None else noise.numpy()
        choice = np.empty(len(raw_obs), np.int64)
        force = np.empty((len(raw_obs), self.actions), np.float32)
        act_rows(*self.arguments, raw_obs.astype(np.float64), noise is not None, given, choice, force)
        return force if isinstance(self.policy.dist, Gaussian) else choice
