"""The variance of the gradient estimate itself, with its standard error: the same for every algorithm.

    ĝ = (1/count) Σ mask·Ψ·∇log π(a|s)   at θ_old, before clipping and before the optimizer,

over independent units: whole trajectories (``episodes``), environment columns (``steps``), or 16 contiguous blocks of
time where there is one column only. With ĝ₍₋ᵢ₎ the estimate without unit i, every batch quantity (means, σ, in-batch
baselines) recomputed without it, the delete-one jackknife (Efron & Stein 1981) estimates E‖ĝ − Eĝ‖² by

    (M−1)/M · Σᵢ ‖ĝ₍₋ᵢ₎ − mean‖²,

which for independent units is Σ‖gᵢ − ĝ‖²/(M(M−1)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from pgrun.estimator import EPSILON, Estimator
from pgrun.nets import Scores
from pgrun.policies import Policy
from pgrun.types import Rollout
from pgrun.units import Without, by_unit

if TYPE_CHECKING:
    from torch import Tensor


BLOCKS = 16  # units where a rollout has one column
WINDOW = 64  # updates that are the units where it is too short for that


@dataclass(frozen=True)
class Measurement:
    gradient: Tensor  # [P]  ĝ
    variance: Tensor  # []
    standard_error: Tensor  # []
    without: Tensor  # [M, P]  the delete-one estimates
    per_unit: bool = False  # the variance is that of one unit, not of their mean

    def scalars(self) -> dict[str, Tensor]:
        squared = self.gradient.square().sum()
        return {
            "gradient/variance": self.variance,
            "gradient/variance_se": self.standard_error,
            "gradient/norm": squared.sqrt(),
            "gradient/snr": ((squared - self.variance) / self.variance)[self.variance != 0],
        }


def jackknife(without: Tensor) -> tuple[Tensor, Tensor]:
    """(variance, its standard error) from the M delete-one estimates [M, P]."""
    m = len(without)
    terms = (m - 1) * (without - without.mean(0)).square().sum(1)  # their mean is the estimate
    return terms.mean(), terms.std() / m**0.5


class Meter:
    """Readings in training.

    One column of fewer than 16 steps has no units in it: then the estimates of 64 updates in a row are the units, and the
    variance is that of one of them, θ taken as still meanwhile.
    """

    def __init__(self) -> None:
        self.window: list[Tensor] = []  # [P] each; empty while no reading is under way

    def read(
        self, policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator, due: bool
    ) -> Measurement | None:
        """A reading, if one is due and complete."""
        if not needs_window(rollout):
            return measure(policy, rollout, value, estimator) if due else None
        if not (due or self.window):
            return None
        scores = policy.scores(by_unit(rollout.obs[:-1], 1), by_unit(rollout.action, 1))
        self.window.append(estimate(policy, scores, rollout, value, estimator, 1))
        if len(self.window) < WINDOW:
            return None
        found, self.window = torch.stack(self.window), []
        without = (found.sum(0) - found) / (WINDOW - 1)
        variance, error = jackknife(without)
        return Measurement(found[-1], WINDOW * variance, WINDOW * error, without, per_unit=True)

    def state_dict(self) -> dict[str, Any]:
        return {"window": list(self.window)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.window = list(state["window"])


def needs_window(rollout: Rollout) -> bool:
    steps, columns = rollout.mask.shape
    return columns == 1 and steps < BLOCKS and not rollout.whole_episodes


def measure(policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator) -> Measurement | None:
    """The meter's reading for the update that starts from ``rollout``; None with fewer than two units."""
    steps, columns = rollout.mask.shape
    units = columns if columns > 1 or rollout.whole_episodes else BLOCKS
    if units < 2 or steps < units // columns:
        return None
    scores = policy.scores(by_unit(rollout.obs[:-1], units), by_unit(rollout.action, units))
    gradient = estimate(policy, scores, rollout, value, estimator, units)
    delete_one = delete_and_recompute if estimator.scheme.sees_scores else delete_in_closed_form
    without = delete_one(policy, scores, rollout, value, estimator, units)
    return Measurement(gradient, *jackknife(without), without)


def estimate(
    policy: Policy, scores: Scores, rollout: Rollout, value: Tensor, estimator: Estimator, units: int
) -> Tensor:
    """ĝ [P]"""
    psi, correction = estimator.psi(rollout, value, policy)
    gradient = scores.sums(by_unit(rollout.mask * psi, units), 1)[0] / rollout.count
    return gradient if correction is None else gradient + correction


def delete_in_closed_form(
    policy: Policy, scores: Scores, rollout: Rollout, value: Tensor, estimator: Estimator, units: int
) -> Tensor:
    """ĝ₍₋ᵢ₎ [M, P] where Ψ without unit i is scaleᵢₜ·xₜⱼ − shiftᵢₜ, standardised anew or not: linear in sums of scores.

    With Aₜ = Σⱼ mask·x·∇log π and Bₜ = Σⱼ mask·∇log π over all units, Σₜ (scaleᵢₜAₜ − shiftᵢₜBₜ) minus the unit's own part.
    """
    without = estimator.scheme.without(rollout, value, estimator.gamma, units).centered(rollout.mask)
    if estimator.advantage_norm:
        without = restandardised(without, rollout, units)
    mask, x = by_unit(rollout.mask, units), by_unit(without.x, units)
    scale, shift = (without.by_row(s, len(mask) // units) for s in (without.scale, without.shift))
    own = scores.sums(mask * (scale * x - shift), units)
    if len(without.scale) > 1:
        scores, mask, x = scores.transposed(units), rollout.mask.flatten(), without.x.flatten()
    groups = len(without.scale)
    total = without.scale.T @ scores.sums(mask * x, groups) - without.shift.T @ scores.sums(mask, groups)
    return (total - own) / (rollout.count * (units - 1) / units)


def restandardised(without: Without, rollout: Rollout, units: int) -> Without:
    """The same for (Ψ − μ₍₋ᵢ₎)/√(σ²₍₋ᵢ₎ + ε), moments over the rows of the other units."""
    mask, x = by_unit(rollout.mask, units), by_unit(without.x, units)
    rows = ((mask * x**k).view(units, -1).T for k in range(3))  # [R, M]
    if len(without.scale) == 1:
        rows = (power.sum(0, keepdim=True) for power in rows)
    count, first, second = (power.sum(1, keepdim=True) - power for power in rows)  # [T or 1, M]
    a, b = without.scale, without.shift
    n = count.sum(0).clamp(min=1)
    mean = (a * first - b * count).sum(0) / n
    square = (a * a * second - 2 * a * b * first + b * b * count).sum(0) / n
    std = (square - mean.square() + EPSILON).sqrt()
    return replace(without, scale=a / std, shift=(b + mean) / std)


def delete_and_recompute(
    policy: Policy, scores: Scores, rollout: Rollout, value: Tensor, estimator: Estimator, units: int
) -> Tensor:
    """ĝ₍₋ᵢ₎ [M, P] for any scheme: everything anew from the rollout without unit i."""
    result = []
    for i in range(units):
        keep = torch.tensor([j for j in range(units) if j != i], device=value.device)
        rest = rollout.columns(keep)
        kept = scores.units(units, keep)
        result.append(estimate(policy, kept, rest, value[:, keep], estimator, units - 1))
    return torch.stack(result)
