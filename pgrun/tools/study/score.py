"""Statistics of M independent gradient estimates ĝᵢ [M, P]; pure functions, float64.

variance     Σ‖ĝᵢ − ḡ‖²/(M − 1): the trace of the covariance of one estimate
variance_se  the standard deviation of the M terms ‖ĝᵢ − ḡ‖²·M/(M − 1), over √M
bias_norm    ‖ḡ − ∇J‖, which noise alone makes about bias_noise = √(variance/M + variance of the reference)
bias_z       (ḡ − ∇J)·u over its standard error, u the direction of ∇J: standard normal where there is no bias
mse          the mean of ‖ĝᵢ − ∇J‖², minus the reference's own variance: unbiased for bias² + variance
cosine       the mean of cos(ĝᵢ, ∇J)
agreement    the mean of cos(ĝᵢ, ĝⱼ), i ≠ j (Ilyas et al. 2020, fig. 2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


CONFIDENCE = 1.959963984540054  # the normal's 97.5 % quantile


@dataclass(frozen=True)
class Reference:
    """What ∇J is taken to be: exact, or the mean of independent unbiased estimates
    ``samples`` [R, P], R ≥ 4 and even.
    """

    kind: str  # exact, sampled
    gradient: Tensor  # [P]
    samples: Tensor | None = None

    @staticmethod
    def sampled(samples: Tensor) -> Reference:
        samples = samples.double()
        return Reference("sampled", samples.mean(0), samples)

    @property
    def variance(self) -> float:
        """E‖gradient − ∇J‖²"""
        if self.samples is None:
            return 0.0
        return float(self.samples.var(0).sum()) / len(self.samples)

    def halves(self) -> tuple[Tensor, Tensor]:
        """[R/2, P] each, independent; the same one row twice where ∇J is known."""
        if self.samples is None:
            return self.gradient[None], self.gradient[None]
        half = len(self.samples) // 2
        return self.samples[:half], self.samples[half:]


@dataclass(frozen=True)
class Score:
    """The figures of one scheme, the same for all; None where there is nothing to divide by."""

    variance: float
    variance_se: float
    variance_low: float
    variance_high: float
    bias_norm: float
    bias_noise: float
    bias_along: float | None
    bias_se: float | None
    bias_z: float | None
    mse: float
    cosine: float | None
    agreement: float | None


def summarise_estimates(estimates: Tensor, reference: Reference) -> Score:
    g = estimates.double()
    m = len(g)
    mean = g.mean(0)
    variance, error = variance_and_error((g - mean).square().sum(1))
    low, high = variance_interval(variance, error)
    bias, bias_se = bias_along_reference(g, reference)
    return Score(
        variance=variance,
        variance_se=error,
        variance_low=low,
        variance_high=high,
        bias_norm=float((mean - reference.gradient).norm()),
        bias_noise=math.sqrt(variance / m + reference.variance),
        bias_along=bias,
        bias_se=bias_se,
        bias_z=bias / bias_se if bias is not None and bias_se else None,
        mse=float((g - reference.gradient).square().sum(1).mean()) - reference.variance,
        cosine=cosine(g, reference.gradient),
        agreement=mean_pairwise_cosine(g),
    )


def variance_and_error(terms: Tensor) -> tuple[float, float]:
    """(variance, its standard error) from ‖ĝᵢ − ḡ‖² [M]."""
    m = len(terms)
    terms = terms * m / (m - 1)
    return float(terms.mean()), float(terms.std()) / math.sqrt(m)


def variance_interval(variance: float, error: float) -> tuple[float, float]:
    """95 %, symmetric in the logarithm: a variance is positive, and its estimate skewed to the right."""
    if variance == 0:
        return 0.0, 0.0
    factor = math.exp(CONFIDENCE * error / variance)
    return variance / factor, variance * factor


def bias_along_reference(g: Tensor, reference: Reference) -> tuple[float | None, float | None]:
    """(bias_along, bias_se).

    A sampled reference gives the direction from one half and is compared with the other, both ways round:

        D = ½[(ḡ − r_B)·u_A + (ḡ − r_A)·u_B],

    since r·r/‖r‖ of one and the same noisy r is larger than ∇J·r/‖r‖, which would look like a bias.
    """
    first, second = reference.halves()
    if not (first.mean(0).any() and second.mean(0).any()):
        return None, None
    mean = g.mean(0)
    a, b = first.mean(0), second.mean(0)
    bias = float(directed_difference(mean, a[None], b))
    own = g @ (a / a.norm() + b / b.norm()) / 2
    squared = float(own.var()) / len(g)
    if reference.samples is not None:
        squared += jackknife_difference(mean, first, b) + jackknife_difference(mean, second, a)
    return bias, math.sqrt(squared)


def directed_difference(mean: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """D for each of several a [n, P]: [n]"""
    difference: Tensor = ((a @ (mean - b)) / a.norm(dim=1) + ((mean - a) @ b) / b.norm()) / 2
    return difference


def jackknife_difference(mean: Tensor, half: Tensor, other: Tensor) -> float:
    """The delete-one jackknife of D over the samples of one half [n, P]: their part
    in the direction counts too.
    """
    n = len(half)
    difference = directed_difference(mean, (half.sum(0) - half) / (n - 1), other)
    return float((n - 1) / n * (difference - difference.mean()).square().sum())


def cosine(g: Tensor, direction: Tensor) -> float | None:
    """The mean over estimates; 0 for one that is 0."""
    if not direction.any():
        return None
    return float((unit_vectors(g) @ (direction / direction.norm())).mean())


def mean_pairwise_cosine(g: Tensor) -> float | None:
    """The mean over pairs i ≠ j: (‖Σuᵢ‖² − Σ‖uᵢ‖²)/(M(M − 1))."""
    u = unit_vectors(g)
    m = len(u)
    return float((u.sum(0).square().sum() - u.square().sum()) / (m * (m - 1))) if m > 1 else None


def unit_vectors(g: Tensor) -> Tensor:
    return torch.nn.functional.normalize(g, dim=1, eps=1e-300)
