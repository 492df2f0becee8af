"""Policies: a network, a distribution and a state normaliser, over one flat parameter vector θ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from gymnasium import spaces
from torch import Tensor

from pgrun.distributions import Bernoulli, Categorical, Distribution, Gaussian, MultiCategorical
from pgrun.nets import Factors, Mlp
from pgrun.normalise import Identity, RunningNorm
from pgrun.schema import PositiveInt


def distribution_for(space: spaces.Space) -> Distribution:
    """The distribution whose samples an action space takes."""
    match space:
        case spaces.Discrete():
            return Categorical(int(space.n))
        case spaces.MultiDiscrete():
            return MultiCategorical([int(n) for n in space.nvec])
        case spaces.MultiBinary():
            return Bernoulli(int(space.n))
        case spaces.Box():
            return Gaussian(max(1, int(torch.tensor(space.shape).prod())))
    raise TypeError(f"no distribution for {space}")


class Policy:
    """π_θ(a|s). With a ``value_head`` the network's first output is V(s): the shared design."""

    def __init__(
        self,
        net: Mlp,
        dist: Distribution,
        theta: Tensor,
        normaliser: Identity | RunningNorm,
        value_head: bool = False,
    ):
        self.net, self.dist, self.theta, self.normaliser = net, dist, theta, normaliser
        self.first = int(value_head)
        self.layers, self.free = net.layers(theta)

    def activations(self, obs: Tensor) -> list[Tensor]:
        """What enters each layer for normalised obs [..., D], and the outputs last."""
        return self.net.activations(self.layers, self.free, obs)

    def params(self, obs: Tensor) -> Tensor:
        """Parameters of π(·|s) [..., K]."""
        return self.activations(obs)[-1][..., self.first :]

    def act(self, raw_obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions for raw observations [N, D]: sampled with the given noise, or the mode without."""
        params = self.params(self.normaliser(raw_obs))
        return self.dist.mode(params) if noise is None else self.dist.sample(params, noise)

    def scores(self, obs: Tensor, action: Tensor) -> Factors:
        """∇log π(a|s) of each row [K], as factors; the value head has no part in it."""
        kept = self.activations(obs)
        with torch.enable_grad():
            out = kept[-1].detach().requires_grad_()
            total = self.dist.log_prob(out[:, self.first :], action).sum()
            (delta,) = torch.autograd.grad(total, out)
        return self.net.backpropagate(self.layers, kept, delta)

    def state_dict(self) -> dict[str, Tensor]:
        return {"theta": self.theta, **self.normaliser.state_dict()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.theta.copy_(state["theta"])
        self.normaliser.load_state_dict(state)


@dataclass(frozen=True)
class Network:
    """Sizes and initialisation; the last policy layer starts small, so that π starts near uniform."""

    hidden: tuple[PositiveInt, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    init: Literal["orthogonal", "xavier"] = "orthogonal"
    bias: bool = True
    log_std: float = -0.5
    policy_gain: float = 0.01
    shared: ClassVar[bool] = False

    def policy(
        self,
        obs_size: int,
        dist: Distribution,
        normaliser: Identity | RunningNorm,
        value_head: bool,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> Policy:
        outputs = value_head + dist.linear
        net = Mlp([obs_size, *self.hidden, outputs], self.activation, dist.free, self.bias)
        gains = [1.0] * value_head + [self.policy_gain] * dist.linear
        theta = net.init(self.init, gains, self.log_std, generator).to(device, dtype)
        return Policy(net, dist, theta, normaliser, value_head)

    def value_net(
        self,
        obs_size: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> tuple[Mlp, Tensor]:
        net = Mlp([obs_size, *self.hidden, 1], self.activation, bias=self.bias)
        return net, net.init(self.init, [1.0], 0.0, generator).to(device, dtype)


@dataclass(frozen=True)
class Separate(Network):
    """Two networks: nothing that the critic learns moves the policy."""


@dataclass(frozen=True)
class Shared(Network):
    """One trunk with two heads, trained on the joint loss −L + c_v·value loss."""

    shared: ClassVar[bool] = True
