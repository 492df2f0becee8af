"""A Gaussian whose actions are clipped on their way out, with the score of what the environment gets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch

from pgrun.policies.distributions import Gaussian

if TYPE_CHECKING:
    from torch import Tensor

LOW, HIGH = -1.0, 1.0  # where a policy's actions are clipped: what the environment's finite bounds become


class ClippedGaussian(Gaussian):
    """a = clip(u, −1, 1), u ~ N(μ, diag σ²) (Fujita & Maeda 2018, §3); params = [μ, log σ].

    Draws are kept as u. π(a|s) has a density within the bounds and lumps at them, P(u ≤ −1) and P(u ≥ 1):

        log π = log Φ((−1 − μ)/σ)  if u ≤ −1,   log N(u)  within,   log Φ((μ − 1)/σ)  if u ≥ 1

    Its score is E[∇log N(u) | a]: what all u beyond a bound have in common. So E[r∇log π] stays as it is
    wherever r depends on a alone, and the variance falls (theorem of Rao and Blackwell). KL, entropy and
    metric are those of u: by the data processing inequality KL(u) is never below that of a.
    """

    estimated: ClassVar[tuple[str, ...]] = ()

    def tails(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """((−1 − μ)/σ, (μ − 1)/σ) [..., A]: log Φ of them are the lumps' log-probabilities."""
        mean, log_std = params.chunk(2, -1)
        inverse = (-log_std).exp()
        return (LOW - mean) * inverse, (mean - HIGH) * inverse

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        mean, log_std = params.chunk(2, -1)
        z = (action - mean) * (-log_std).exp()
        within = -0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)
        below, above = (torch.special.log_ndtr(x) for x in self.tails(params))
        return torch.where(action <= LOW, below, torch.where(action >= HIGH, above, within)).sum(-1)

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        """∂log Φ(x)/∂x = φ(x)/Φ(x), with ∂x/∂μ = ∓1/σ and ∂x/∂log σ = −x."""
        inverse = (-params[..., self.linear :]).exp()
        of_mean, of_std = super().score(params, action).chunk(2, -1)
        for x, sign, beyond in zip(self.tails(params), (-1, 1), (action <= LOW, action >= HIGH), strict=True):
            hazard = inverse_mills(x)
            of_mean = torch.where(beyond, sign * hazard * inverse, of_mean)
            of_std = torch.where(beyond, -hazard * x, of_std)
        return torch.cat([of_mean, of_std], -1)


def inverse_mills(x: Tensor) -> Tensor:
    """φ(x)/Φ(x), by logarithms: about −x far to the left, where both are 0."""
    ratio: Tensor = (-0.5 * x.square() - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(x)).exp()
    return ratio
