"""More of what the meter's units can tell, with ``diagnostics.detail=true``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pgrun.diagnostics.gradient_variance import Measurement, jackknife
from pgrun.policies.mlp import Net
from pgrun.types import blank_unless

if TYPE_CHECKING:
    from torch import Tensor


TAGS = ("gradient/halves_cosine", "gradient/noise_scale")


def detail_scalars(reading: Measurement, rows: Tensor, net: Net) -> dict[str, Tensor]:
    """Details of one reading over ``rows`` rows of mask 1:

    halves_cosine  cos(ĝ_A, ĝ_B) of the estimates from every other unit: near 0, the batch is too small to
                   point anywhere
    noise_scale    B·Var ĝ/‖G‖², ‖G‖² estimated by ‖ĝ‖² − Var ĝ: the rows at which noise and signal are equal
                   (McCandlish et al. 2018, eq. 2.9); blank where the estimate of ‖G‖² is not positive
    variance/…     the variance of each group of parameters; they add up to ``gradient/variance``
    """
    without, scale = reading.without, len(reading.without) if reading.per_unit else 1
    signal = reading.gradient.square().sum() - reading.variance
    scalars = {
        "gradient/halves_cosine": halves_cosine(without),
        "gradient/noise_scale": blank_unless(signal > 0, rows * reading.variance / signal),
    }
    sizes = net.groups()
    for name, part in zip(sizes, torch.split(without, list(sizes.values()), 1), strict=True):
        scalars[f"gradient/variance/{name}"] = scale * jackknife(part)[0]
    return scalars


def halves_cosine(without: Tensor) -> Tensor:
    """From pseudo-values gᵢ = Mĝ − (M−1)ĝ₍₋ᵢ₎, ĝ the mean of the ĝ₍₋ᵢ₎: for
    independent units their own estimates.
    """
    m = len(without)
    each = m * without.mean(0) - (m - 1) * without
    return torch.cosine_similarity(each[0::2].mean(0), each[1::2].mean(0), dim=0)


def list_detail_tags(net: Net) -> list[str]:
    return [*TAGS, *(f"gradient/variance/{name}" for name in net.groups())]
