"""Policies: a network, a distribution and a state normaliser, over one flat parameter vector θ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from pgrun.config.schema import NonNegative, Positive, PositiveInt
from pgrun.errors import Mistake
from pgrun.policies.activations import IN_NUMPY, Activation
from pgrun.policies.distributions import Bernoulli, Categorical, Distribution, MultiCategorical
from pgrun.policies.families import Family, Gaussian, LogStd
from pgrun.policies.gsde import FeatureNet, GsdeGaussian
from pgrun.policies.masked import MaskedNet
from pgrun.policies.mlp import Mlp, Net, Scores
from pgrun.policies.normalization import NoStateNorm, RunningNorm
from pgrun.policies.pair import Pair
from pgrun.policies.rescaled import Rescaled

if TYPE_CHECKING:
    from torch import Tensor


def distribution_for(
    space: spaces.Space[Any], family: Family | None = None, log_std: float = -0.5
) -> Distribution:
    """The distribution whose samples an action space takes; ``family``: of real ones, else Gaussian."""
    match space:
        case spaces.Discrete():
            return Categorical(int(space.n))
        case spaces.MultiDiscrete():
            return MultiCategorical([int(n) for n in space.nvec])
        case spaces.MultiBinary():
            return Bernoulli(math.prod(space.shape))
        case spaces.Box():
            return (family or Gaussian()).distribution(math.prod(space.shape), log_std)
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
        known = isinstance(self.net, Mlp) and self.net.activation in IN_NUMPY
        if known and self.theta.device.type == "cpu":
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
    """Sizes and initialisation; the last policy layer starts small, so that π starts near uniform, but for
    ``init=torch``, which leaves every layer as torch.nn.Linear makes it. ``critic_hidden``: the critic's own
    sizes.

    ``logit_scale``: the policy's outputs (logits, or the mean) are that many times what the last layer gives,
    which starts as much smaller: the same policies and the same first one, in another parametrisation.
    """

    hidden: tuple[PositiveInt, ...] = (64, 64)  # units of each hidden layer
    critic_hidden: tuple[PositiveInt, ...] | None = None  # of the critic's; null: the same
    activation: Activation = "tanh"  # between the layers
    init: Literal["orthogonal", "xavier", "torch"] = "orthogonal"  # of the weights
    bias: bool = True  # whether layers have one
    log_std: LogStd = -0.5  # log σ of a Gaussian policy at the start
    policy_gain: NonNegative = 0.01  # of the last layer; small: all actions alike at the start
    logit_scale: Positive = 1.0
    shared: ClassVar[bool] = False  # V is an output of the policy's network, and the loss a joint one
    one_trunk: ClassVar[bool] = False  # actor and critic have hidden layers in common
    read_when: ClassVar = {"policy_gain": ("init", ("orthogonal", "xavier"))}

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        """Why it does not fit the other settings or the environment, each with what does."""
        yield from ()

    def net(self, inputs: int, outputs: int, free: int = 0) -> Net:
        """[B, inputs] → [B, outputs + free]. Your own networks return a ``TorchModuleNet`` here."""
        return Mlp([inputs, *self.hidden, outputs], self.activation, free, self.bias)

    def checked_net(self, inputs: int, outputs: int, free: int = 0) -> Net:
        """``net``, once it has been seen to give what it must."""
        net = self.net(inputs, outputs, free)
        if not isinstance(net, Mlp):
            from pgrun.policies.torch_module import check_own_net

            check_own_net(self.net, net, inputs, outputs)
        return net

    def policy(
        self,
        obs_size: int,
        dist: Distribution,
        normaliser: NoStateNorm | RunningNorm,
        value_head: bool,
        generator: torch.Generator,
        dtype: torch.dtype | None = None,
        device: str = "cpu",
        mask: slice | None = None,
    ) -> Policy:
        """``mask``: where observations say which actions are allowed."""
        log_std = self.log_std
        if isinstance(dist, GsdeGaussian):
            log_std, dist = dist.start, dist.on_features(self.hidden[-1] if self.hidden else obs_size)
        net = self.policy_net(obs_size, dist, value_head, device)
        if mask is not None:
            net = MaskedNet(net, mask, int(value_head))
        small = 1.0 if self.init == "torch" else self.policy_gain
        gains = [1.0] * value_head + [small] * dist.linear
        theta = net.init(self.init, gains, log_std, generator).to(device, dtype or torch.float32)
        return Policy(net, dist, theta, normaliser, value_head)

    def policy_net(self, obs_size: int, dist: Distribution, value_head: bool, device: str = "cpu") -> Net:
        """[B, obs_size] → [B, K], with V in front where there is a value head."""
        net = self.checked_net(obs_size, value_head + dist.linear, dist.free)
        if isinstance(dist, GsdeGaussian):
            assert isinstance(net, Mlp)  # others are refused before
            return FeatureNet(net)
        return self.rescaled(net, dist, value_head, device)

    def critic_net(self, inputs: int, outputs: int = 1) -> Net:
        """[B, inputs] → [B, outputs]"""
        own = self if self.critic_hidden is None else replace(self, hidden=self.critic_hidden)
        return own.checked_net(inputs, outputs)

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
        outputs: int = 1,
    ) -> tuple[Net, Tensor]:
        net = self.critic_net(obs_size, outputs)
        return net, net.init(self.init, [1.0] * outputs, 0.0, generator).to(device, dtype or torch.float32)


@dataclass(frozen=True)
class Separate(Network):
    """Two networks with no parameter in common: the critic's loss moves no weight of π, V only enters Ψ."""


@dataclass(frozen=True)
class Shared(Network):
    """One trunk with two heads, trained on the joint loss −L + c_v·value loss."""

    shared: ClassVar[bool] = True
    one_trunk: ClassVar[bool] = True


@dataclass(frozen=True)
class Joint(Network):
    """Two networks without a layer in common and one optimizer for both, on the loss −L + c_v·value loss.

    A gradient that is clipped is clipped by the norm of both parts together, as Stable-Baselines3 does
    (Raffin et al. 2021), whose vf_coef is half of ``critic.coef``: its value loss has no factor ½.
    """

    shared: ClassVar[bool] = True

    def policy_net(self, obs_size: int, dist: Distribution, value_head: bool, device: str = "cpu") -> Net:
        if not value_head:
            return super().policy_net(obs_size, dist, value_head, device)
        return Pair(self.critic_net(obs_size), super().policy_net(obs_size, dist, False, device))
