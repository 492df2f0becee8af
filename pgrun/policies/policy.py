"""Policies: a network, a distribution and a state normaliser, over one flat parameter vector θ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from gymnasium import spaces

from pgrun.config.schema import Positive, PositiveInt
from pgrun.policies.distributions import Bernoulli, Categorical, Distribution, Gaussian, MultiCategorical
from pgrun.policies.mlp import Mlp, Net, Scores
from pgrun.policies.normalization import NoStateNorm, RunningNorm
from pgrun.policies.rescaled import Rescaled

if TYPE_CHECKING:
    from torch import Tensor


def distribution_for(space: spaces.Space[Any]) -> Distribution:
    """The distribution whose samples an action space takes."""
    match space:
        case spaces.Discrete():
            return Categorical(int(space.n))
        case spaces.MultiDiscrete():
            return MultiCategorical([int(n) for n in space.nvec])
        case spaces.MultiBinary():
            return Bernoulli(math.prod(space.shape))
        case spaces.Box():
            return Gaussian(math.prod(space.shape))
    raise TypeError(f"no distribution for {space}")


class Policy:
    """π_θ(a|s). With a ``value_head`` the network's first output is V(s): the shared design."""

    def __init__(
        self,
        net: Net,
        dist: Distribution,
        theta: Tensor,
        normaliser: NoStateNorm | RunningNorm,
        value_head: bool = False,
        compiled: bool = False,
    ):
        self.net, self.dist, self.theta, self.normaliser = net, dist, theta, normaliser
        self.compiled = compiled
        self.value_outputs = int(value_head)
        self.layers, self.free = net.layers(theta)

    def with_theta(self, theta: Tensor) -> Policy:
        """A policy with other parameters θ [P] and all else the same."""
        return Policy(self.net, self.dist, theta, self.normaliser, bool(self.value_outputs), self.compiled)

    def activations(self, obs: Tensor) -> list[Tensor]:
        """What enters each layer for normalised obs [..., D], and the outputs last."""
        return self.net.activations(self.layers, self.free, obs)

    def params(self, obs: Tensor) -> Tensor:
        """Parameters of π(·|s) [..., K]."""
        return self.activations(obs)[-1][..., self.value_outputs :]

    def actor(self) -> Actor:
        """How to act under the present θ and normaliser, which must not move meanwhile."""
        if self.compiled:
            from pgrun.policies.compiled_actor import CompiledActor, can_act

            if can_act(self):
                return CompiledActor(self)
        if isinstance(self.net, Mlp) and self.theta.device.type == "cpu":
            return NumpyActor(self)
        return TorchActor(self)

    def scores(self, obs: Tensor, action: Tensor) -> Scores:
        """∇log π(a|s) of each row [K], as factors; the value head has no part in it."""
        kept = self.activations(obs)
        score = self.dist.score(kept[-1][:, self.value_outputs :], action)
        return self.net.backpropagate(self.layers, kept, self.output_delta(score, 0.0))

    def output_delta(self, params: Tensor, value: Tensor | float) -> Tensor:
        """∂L/∂outputs [B, first + K] from ∂L/∂params [B, K] and, in front with a value head, ∂L/∂V [B]."""
        if not self.value_outputs:
            return params
        column = params.new_zeros(len(params), 1) if isinstance(value, float) else value[:, None]
        return torch.cat([column, params], 1)

    def state_dict(self) -> dict[str, Tensor]:
        return {"theta": self.theta, **self.normaliser.state_dict()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.theta.copy_(state["theta"])
        self.normaliser.load_state_dict(state)


class Actor(Protocol):
    def __call__(self, raw_obs: np.ndarray, noise: Tensor | None) -> np.ndarray:
        """Actions for raw observations [N, D]: sampled with the given noise, or the mode without."""


class TorchActor:
    """Acts on the policy's own device."""

    def __init__(self, policy: Policy):
        self.policy = policy

    def __call__(self, raw_obs: np.ndarray, noise: Tensor | None) -> np.ndarray:
        policy = self.policy
        like = policy.theta
        obs = policy.normaliser(torch.from_numpy(raw_obs).to(like.device)).to(like.dtype)
        action: np.ndarray = policy.dist.act(policy.params(obs), noise).cpu().numpy()
        return action


IN_NUMPY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda h: np.maximum(h, 0),
}


class NumpyActor:
    """The policy's forward pass in NumPy, on views of θ: for a few rows its
    operations cost a third of torch's.
    """

    def __init__(self, policy: Policy):
        net = policy.net
        assert isinstance(net, Mlp)
        self.dist = policy.dist
        self.normalise = policy.normaliser.in_numpy()
        self.hidden = IN_NUMPY[net.activation]
        *layers, (weight, bias) = policy.layers
        first = policy.value_outputs
        layers.append((weight[first:], None if bias is None else bias[first:]))
        self.layers = [(w.numpy().T, 0.0 if b is None else b.numpy()) for w, b in layers]
        self.free = policy.free.numpy()
        self.dtype = policy.theta.numpy().dtype

    def __call__(self, raw_obs: np.ndarray, noise: Tensor | None) -> np.ndarray:
        h = self.normalise(raw_obs).astype(self.dtype, copy=False)
        for weight, bias in self.layers[:-1]:
            h = self.hidden(h @ weight + bias)
        weight, bias = self.layers[-1]
        params = h @ weight + bias
        if self.free.size:
            params = np.concatenate([params, np.broadcast_to(self.free, params.shape)], -1)
        action: np.ndarray = self.dist.act(params, None if noise is None else noise.numpy())
        return action


@dataclass(frozen=True)
class Network:
    """Sizes and initialisation; the last policy layer starts small, so that π starts near uniform.

    ``logit_scale``: the policy's outputs (logits, or the mean) are that many times what the last layer gives,
    which starts as much smaller: the same policies and the same first one, in another parametrisation.
    """

    hidden: tuple[PositiveInt, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    init: Literal["orthogonal", "xavier"] = "orthogonal"
    bias: bool = True
    log_std: float = -0.5
    policy_gain: float = 0.01
    logit_scale: Positive = 1.0
    shared: ClassVar[bool] = False

    def net(self, inputs: int, outputs: int, free: int = 0) -> Net:
        """[B, inputs] → [B, outputs + free]. Your own networks return a ``TorchModuleNet`` here."""
        return Mlp([inputs, *self.hidden, outputs], self.activation, free, self.bias)

    def policy(
        self,
        obs_size: int,
        dist: Distribution,
        normaliser: NoStateNorm | RunningNorm,
        value_head: bool,
        generator: torch.Generator,
        dtype: torch.dtype | None = None,
        device: str = "cpu",
    ) -> Policy:
        outputs = value_head + dist.linear
        net = self.rescaled(self.net(obs_size, outputs, dist.free), dist, value_head, device)
        gains = [1.0] * value_head + [self.policy_gain] * dist.linear
        theta = net.init(self.init, gains, self.log_std, generator).to(device, dtype or torch.float32)
        return Policy(net, dist, theta, normaliser, value_head)

    def rescaled(self, net: Net, dist: Distribution, value_head: bool, device: str = "cpu") -> Net:
        if self.logit_scale == 1:
            return net
        linear = [1.0] * value_head + [self.logit_scale] * dist.linear
        return Rescaled(net, torch.tensor(linear + [1.0] * dist.free, device=device))

    def value_net(
        self,
        obs_size: int,
        generator: torch.Generator,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> tuple[Net, Tensor]:
        net = self.net(obs_size, 1)
        return net, net.init(self.init, [1.0], 0.0, generator).to(device, dtype or torch.float32)


@dataclass(frozen=True)
class Separate(Network):
    """Two networks: nothing that the critic learns moves the policy."""


@dataclass(frozen=True)
class Shared(Network):
    """One trunk with two heads, trained on the joint loss −L + c_v·value loss."""

    shared: ClassVar[bool] = True
