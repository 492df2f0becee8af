"""Exploration that depends on the state: one matrix of noise for many steps (Raffin et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from pgrun.policies.continuous import StateStdGaussian
from pgrun.policies.distributions import Array, array_library
from pgrun.policies.mlp import Factors, Mlp, WrappedNet

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-6  # added to σ², as Stable-Baselines3 does: features may all be 0


class GsdeGaussian(StateStdGaussian):
    """a = μ(s) + φ(s)ᵀE, E [H, A] with independent entries N(0, σ²), φ the last hidden layer.

    params = [μ, φ, log σ], log σ [H·A] the same in every state. Of one step

        π(a|s) = N(μ, diag v),  vⱼ = Σₖ φₖ² σₖⱼ² + 1e-6

    (Raffin et al. 2021, eq. 5 and 6): log π, score, entropy, KL and metric are closed forms of it. The noise
    of an action is E/σ; ``hold`` steps have the same, None: all of a rollout, or of an episode. Without
    ``learn_features`` φ is a constant in v wherever v is differentiated.
    """

    def __init__(
        self, dims: int, hold: int | None, learn_features: bool, start: float = -0.5, features: int = 1
    ):
        super().__init__(dims, 0.0)
        self.hold, self.learn_features, self.start, self.features = hold, learn_features, start, features
        self.linear, self.free = dims, features * dims
        self.size = dims + features + self.free

    def on_features(self, features: int) -> GsdeGaussian:
        """The same for a network whose last hidden layer has so many units."""
        return GsdeGaussian(self.dims, self.hold, self.learn_features, self.start, features)

    def split(self, params: Array) -> tuple[Array, Array, Array]:
        """(μ [..., A], φ [..., H], log σ [..., H, A])"""
        ends = self.dims, self.dims + self.features
        shape = (*params.shape[:-1], self.features, self.dims)
        return params[..., : ends[0]], params[..., ends[0] : ends[1]], params[..., ends[1] :].reshape(shape)

    def variances(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(φ [..., H], σ² [..., H, A], φ²σ² [..., H, A], v [..., A])"""
        _, features, log_std = self.split(params)
        features = features if self.learn_features else features.detach()  # where torch differentiates v
        squares = (2 * log_std).exp()
        parts = features.square()[..., None] * squares
        return features, squares, parts, parts.sum(-2) + FLOOR

    def shifted(self, params: Array) -> Array:
        """[μ, ½ log v]: the parameters of the Gaussian of one step."""
        return torch.cat([params[..., : self.dims], self.log_std(params)], -1)

    def log_std(self, params: Tensor) -> Tensor:
        return 0.5 * self.variances(params)[-1].log()

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """E/σ [..., H·A], another for each row."""
        return torch.randn(*shape, self.free, dtype=dtype, device=generator.device, generator=generator)

    def act(self, params: Array, noise: Array | None) -> Array:
        mean, features, log_std = self.split(params)
        if noise is None:
            return mean
        drawn = array_library(params).exp(log_std) * noise.reshape(log_std.shape)
        return mean + (features[..., None] * drawn).sum(-2)

    def pull_back(self, params: Tensor, grad: Tensor) -> Tensor:
        """∂L/∂params from ∂L/∂(μ, ½ log v): ½∂log v/∂φₖ = φₖσₖ²/v, and by log σₖ it is φₖ²σₖ²/v."""
        features, squares, parts, v = self.variances(params)
        mean, log_std = grad.chunk(2, -1)
        slope = (log_std / v)[..., None, :]
        by_features = features * (squares * slope).sum(-1)
        if not self.learn_features:
            by_features = torch.zeros_like(by_features)
        return torch.cat([mean, by_features, (parts * slope).flatten(-2)], -1)

    def push_forward(self, params: Tensor, u: Tensor) -> Tensor:
        """The change of (μ, ½ log v) along u, a change of params."""
        features, squares, parts, v = self.variances(params)
        mean, moved, log_std = self.split(u)
        along = (parts * log_std).sum(-2)
        if self.learn_features:
            along = along + ((features * moved)[..., None] * squares).sum(-2)
        return torch.cat([mean, along / v], -1)

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        return self.pull_back(params, super().score(params, action))

    def entropy_gradient(self, params: Tensor) -> Tensor:
        return self.pull_back(params, self.gaussian.entropy_gradient(self.shifted(params)))

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        """JᵀFJu, F of (μ, ½ log v) and J their derivatives by params."""
        moved = self.push_forward(params, u)
        return self.pull_back(params, self.gaussian.metric(self.shifted(params), moved))

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        return self.pull_back(q, super().kl_gradient(p, q))


class FeatureNet(WrappedNet):
    """y = [W φ(x) + b, φ(x), free]: a perceptron that gives its last hidden layer beside its outputs."""

    def __init__(self, net: Mlp):
        super().__init__(net)
        self.perceptron = net
        self.outputs, self.features = net.shapes[-1]

    def activations(self, layers: Any, free: Tensor, x: Tensor) -> list[Tensor]:
        *kept, y = self.net.activations(layers, free, x)
        return [*kept, torch.cat([y[..., : self.outputs], kept[-1], y[..., self.outputs :]], -1)]

    def backpropagate(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Factors:
        end = self.outputs + self.features
        of_outputs = torch.cat([delta[:, : self.outputs], delta[:, end:]], -1)
        return self.perceptron.backpropagate_features(layers, kept, of_outputs, delta[:, self.outputs : end])

    def tangent(self, change: tuple[Any, Tensor], layers: Any, kept: list[Tensor]) -> Tensor:
        *hidden, out = self.perceptron.differentials(change, layers, kept)
        moved = hidden[-1] if hidden else torch.zeros_like(kept[-2])
        return torch.cat([out, moved, change[1].expand(len(out), -1)], 1)

    def gradient(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Tensor:
        return self.backpropagate(layers, kept, delta).total()
