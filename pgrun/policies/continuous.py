"""More distributions of real actions, with the functions that ``pgrun.policies.distributions`` describes.

Of those here KL, score, metric and their gradients are closed forms; the entropy is one but for
``TanhGaussian``, and ``estimated`` names what is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from pgrun.policies.distributions import Array, Gaussian, array_library

if TYPE_CHECKING:
    from torch import Tensor

POINTS = 32  # of a Gauss–Hermite quadrature
EDGE = 1 - 1e-6  # the largest |action| that a Beta gives: at the ends themselves densities are 0 or log 0


class StateStdGaussian:
    """N(μ, diag σ²) with log σ = ``log_std`` + ρ, and params = [μ, ρ] both of the state.

    The shift is a constant: what is differentiated by ρ is as by log σ.
    """

    estimated: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dims: int, log_std: float):
        self.gaussian, self.offset, self.dims = Gaussian(dims), log_std, dims
        self.linear, self.free, self.size, self.encoded = 2 * dims, 0, 2 * dims, dims

    def shifted(self, params: Array) -> Array:
        """[μ, log σ]"""
        join = array_library(params).concatenate
        return join([params[..., : self.dims], params[..., self.dims :] + self.offset], -1)

    def log_std(self, params: Tensor) -> Tensor:
        return params[..., self.dims :] + self.offset

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return self.gaussian.noise(shape, generator, dtype)

    def act(self, params: Array, noise: Array | None) -> Array:
        return self.gaussian.act(self.shifted(params), noise)

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        return self.gaussian.log_prob(self.shifted(params), action)

    def encode(self, action: Tensor) -> Tensor:
        return action

    def entropy(self, params: Tensor) -> Tensor:
        return self.gaussian.entropy(self.shifted(params))

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        return self.gaussian.score(self.shifted(params), action)

    def entropy_gradient(self, params: Tensor) -> Tensor:
        return self.gaussian.entropy_gradient(params)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        return self.gaussian.kl(self.shifted(p), self.shifted(q))

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        return self.gaussian.metric(self.shifted(params), u)

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        return self.gaussian.kl_gradient(self.shifted(p), self.shifted(q))


class TanhGaussian(Gaussian):
    """a = tanh u, u ~ N(μ, diag σ²) (Haarnoja et al. 2018, appendix C), on (−1, 1); params = [μ, log σ].

    What is drawn, kept and asked about is u; the environment gets tanh u (``emit``). So no inverse is taken,
    which float32 does not have near ±1. log π(a) = log N(u) − Σ log(1 − tanh² u): the last part knows no
    parameter, so the score, KL, its gradient and the metric are those of u, exactly (KL is invariant under a
    bijection). The entropy H(u) + E Σ log(1 − tanh² u) has no closed form: its last part is a quadrature of
    32 points, off by 1e-7 at σ = 1, 1e-3 at 2.7 and 3e-2 at 5. Without noise it is tanh μ, the median: of
    modes there may be two.
    """

    estimated: ClassVar[tuple[str, ...]] = ("entropy",)

    def draws(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u [..., A, 32], w [32], σz [..., A, 32])"""
        mean, log_std = params.chunk(2, -1)
        z, weight = quadrature_nodes(params.device, params.dtype)
        spread = log_std.exp()[..., None] * z
        return mean[..., None] + spread, weight, spread

    def emit(self, drawn: np.ndarray) -> np.ndarray:
        """What the environment gets for a draw u."""
        a: np.ndarray = np.tanh(drawn)
        return a

    def recover(self, action: Tensor) -> Tensor:
        """The draw that becomes this action of (−1, 1)."""
        return action.atanh()

    def encode(self, action: Tensor) -> Tensor:
        return action.tanh()

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        return super().log_prob(params, action) - log_slope(action).sum(-1)

    def entropy(self, params: Tensor) -> Tensor:
        u, weight, _ = self.draws(params)
        return super().entropy(params) + (log_slope(u) @ weight).sum(-1)

    def entropy_gradient(self, params: Tensor) -> Tensor:
        """Of the quadrature, which is what ``entropy`` is."""
        u, weight, spread = self.draws(params)
        slope = -2 * u.tanh()  # (log(1 − tanh² u))'
        return super().entropy_gradient(params) + torch.cat([slope @ weight, (slope * spread) @ weight], -1)


@cache
def quadrature_nodes(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(z, w) with Σ w f(z) ≈ E f(z), z ~ N(0, 1); exact for polynomials of degree 63. Once on each device:
    to copy them there for every update would wait for it.
    """
    z, w = np.polynomial.hermite_e.hermegauss(POINTS)
    nodes = torch.from_numpy(np.stack([z, w / w.sum()])).to(device, dtype)
    return nodes[0], nodes[1]


def log_slope(u: Tensor) -> Tensor:
    """log(1 − tanh² u), which does not round to log 0: 2(log 2 − u − softplus(−2u))."""
    return 2 * (math.log(2) - u - torch.nn.functional.softplus(-2 * u))


class ScaledBeta:
    """a = 2x − 1, x ~ Beta(α, β) independently in each entry, on (−1, 1) (Chou, Maturana & Scherer 2017).

    params = [r, s], α = 1 + softplus(r), β = 1 + softplus(s): both above 1, so that there is one mode, and no
    density at the ends. A draw is x = F⁻¹(noise), noise uniform on (0, 1). With L = log B:

        KL(p‖q) = L(α_q, β_q) − L(α_p, β_p) + (α_p − α_q)ψ(α_p) + (β_p − β_q)ψ(β_p)
                  + (α_q − α_p + β_q − β_p)ψ(α_p + β_p)
    """

    estimated: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dims: int):
        self.dims = dims
        self.linear, self.free, self.size, self.encoded = 2 * dims, 0, 2 * dims, dims

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return torch.rand(*shape, self.dims, dtype=dtype, device=generator.device, generator=generator)

    def act(self, params: Array, noise: Array | None) -> Array:
        """The draw, or without noise the mode (α − 1)/(α + β − 2), in float64 on the CPU."""
        from scipy.special import betaincinv

        given = params if isinstance(params, np.ndarray) else params.cpu().numpy()
        above = np.logaddexp(0, given.astype(np.float64)) + 1e-30  # α − 1, β − 1; 0/0 has no mode
        first, second = above[..., : self.dims], above[..., self.dims :]
        if noise is None:
            x = first / (first + second)
        else:
            level = noise if isinstance(noise, np.ndarray) else noise.cpu().numpy()
            x = betaincinv(1 + first, 1 + second, level)
        action = np.clip(2 * x - 1, -EDGE, EDGE).astype(given.dtype)
        return action if isinstance(params, np.ndarray) else torch.from_numpy(action).to(params.device)

    def concentrations(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """(α, β) [..., A]"""
        alpha, beta = (1 + torch.nn.functional.softplus(params)).chunk(2, -1)
        return alpha, beta

    def by_params(self, params: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """∂/∂params from ∂/∂α and ∂/∂β: softplus' is the logistic function."""
        return params.sigmoid() * torch.cat([alpha, beta], -1)

    def emit(self, drawn: np.ndarray) -> np.ndarray:
        return drawn

    def recover(self, action: Tensor) -> Tensor:
        return action

    def encode(self, action: Tensor) -> Tensor:
        return action

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        alpha, beta = self.concentrations(params)
        density = (alpha - 1) * ((1 + action) / 2).log() + (beta - 1) * ((1 - action) / 2).log()
        return (density - log_beta(alpha, beta)).sum(-1) - self.dims * math.log(2)

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        alpha, beta = self.concentrations(params)
        both = (alpha + beta).digamma()
        first = ((1 + action) / 2).log() - alpha.digamma() + both
        return self.by_params(params, first, ((1 - action) / 2).log() - beta.digamma() + both)

    def entropy(self, params: Tensor) -> Tensor:
        alpha, beta = self.concentrations(params)
        total = alpha + beta
        known = (total - 2) * total.digamma() - (alpha - 1) * alpha.digamma() - (beta - 1) * beta.digamma()
        return (log_beta(alpha, beta) + known).sum(-1) + self.dims * math.log(2)

    def entropy_gradient(self, params: Tensor) -> Tensor:
        alpha, beta = self.concentrations(params)
        both = (alpha + beta - 2) * torch.polygamma(1, alpha + beta)
        first = both - (alpha - 1) * torch.polygamma(1, alpha)
        return self.by_params(params, first, both - (beta - 1) * torch.polygamma(1, beta))

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        """In float64 meanwhile: of large α it is a small difference of large numbers."""
        (a, b), (c, d) = self.concentrations(p.double()), self.concentrations(q.double())
        moved = (a - c) * a.digamma() + (b - d) * b.digamma() + (c - a + d - b) * (a + b).digamma()
        return (log_beta(c, d) - log_beta(a, b) + moved).sum(-1).to(p.dtype)

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        (a, b), (c, d) = self.concentrations(p), self.concentrations(q)
        both = (a + b).digamma() - (c + d).digamma()
        return self.by_params(q, c.digamma() - a.digamma() + both, d.digamma() - b.digamma() + both)

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        """JᵀFJu, F the Fisher matrix in α and β (trigammas), J their derivatives by params."""
        alpha, beta = self.concentrations(params)
        first, second = (params.sigmoid() * u).chunk(2, -1)
        both = torch.polygamma(1, alpha + beta) * (first + second)
        along = torch.polygamma(1, alpha) * first - both, torch.polygamma(1, beta) * second - both
        return self.by_params(params, *along)


def log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    """log B(α, β)"""
    return alpha.lgamma() + beta.lgamma() - (alpha + beta).lgamma()
