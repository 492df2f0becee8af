"""What is done to the weights Ψ of a batch before they are used: nothing, centring, scaling, or both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pgrun.config.settings import CENTERING, SCALING, AdvantageNorm
from pgrun.variance.leave_out import DeleteOnePsi, rows_by_unit

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.types import Rollout

EPSILON = 1e-8  # ε of the scaling


def normalise_advantages(psi: Tensor, mask: Tensor, norm: AdvantageNorm) -> Tensor:
    """Ψ as the update uses it, from Ψ of any shape; means are over the rows with mask 1.

        none    Ψ
        center  Ψ − μ,  μ = mean Ψ
        scale   Ψ/√(mean Ψ² + ε)
        full    (Ψ − μ)/√(σ² + ε),  σ² = mean (Ψ − μ)²: centred, then scaled

    Each but ``none`` biases the gradient, since μ and σ come from the same rows. Centring cancels every
    constant baseline; scaling alone keeps baselines apart. Moments are taken in float64: in float32 equal Ψ
    would be centred to their rounding error, which the division makes large. ``full`` is usual in PPO, over
    the minibatch (Andrychowicz et al. 2021, C67) or over the batch.
    """
    if norm == "none":
        return psi
    x, mask = psi.double(), mask.double()
    count = mask.sum().clamp(min=1)
    if norm in CENTERING:
        x = x - (mask * x).sum() / count
    if norm in SCALING:
        x = x / ((mask * x.square()).sum() / count + EPSILON).sqrt()
    return x.to(psi.dtype)


def normalise_delete_one(
    psi: DeleteOnePsi, rollout: Rollout, units: int, norm: AdvantageNorm
) -> DeleteOnePsi:
    """``normalise_advantages`` of the Ψ that is left when each of ``units`` is left out, moments over the
    other units' rows.
    """
    if norm == "none":
        return psi
    mask, x = rows_by_unit(rollout.mask, units).double(), rows_by_unit(psi.x, units).double()
    rows = ((mask * x**k).view(units, -1).T for k in range(3))  # [R, M]
    if len(psi.scale) == 1:
        rows = (power.sum(0, keepdim=True) for power in rows)
    count, first, second = (power.sum(1, keepdim=True) - power for power in rows)  # [T or 1, M]
    a, b = psi.scale.double(), psi.shift.double()
    n = count.sum(0).clamp(min=1)
    mean = (a * first - b * count).sum(0) / n
    square = (a * a * second - 2 * a * b * first + b * b * count).sum(0) / n
    center = mean if norm in CENTERING else torch.zeros_like(mean)
    variance = (square - (2 * mean - center) * center).clamp(min=0)
    divisor = (variance + EPSILON).sqrt() if norm in SCALING else torch.ones_like(mean)
    return replace(psi, scale=(a / divisor).to(psi.scale), shift=((b + center) / divisor).to(psi.shift))
