"""The variance of the gradient estimate itself, with its standard error: the same for every algorithm.

    ĝ = (1/count) Σ mask·Ψ·∇log π(a|s)   at θ_old, before clipping and before the optimizer,

Ψ as the algorithm's surrogate weighs it there (``choose_estimator``), over independent units: whole
trajectories (``episodes``), groups of them from one start, environment columns
(``steps``), or 16 contiguous blocks of time where there is one column only. With ĝ₍₋ᵢ₎ the estimate without
unit i, every batch quantity (means, σ, in-batch baselines) recomputed without it, the delete-one jackknife
(Efron & Stein 1981) estimates E‖ĝ − Eĝ‖² by

    (M−1)/M · Σᵢ ‖ĝ₍₋ᵢ₎ − mean‖²,

which for independent units is Σ‖gᵢ − ĝ‖²/(M(M−1)). V is held as it is: with ``critic.fit=before``, which fits
it to the same batch, the reading is the variance given V.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.config.own_code import require_delete_one
from pgrun.policies.mlp import Scores
from pgrun.policies.policy import Policy
from pgrun.types import Rollout, blank_unless
from pgrun.variance.advantage_norm import normalise_delete_one
from pgrun.variance.leave_out import rows_by_unit

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
            "gradient/variance_se": self.standard_error if len(self.without) > 2 else squared.new_empty(0),
            "gradient/norm": squared.sqrt(),
            "gradient/snr": blank_unless(self.variance != 0, (squared - self.variance) / self.variance),
        }


def jackknife(without: Tensor) -> tuple[Tensor, Tensor]:
    """(variance, its standard error) from the M delete-one estimates [M, P]."""
    m = len(without)
    terms = (m - 1) * (without - without.mean(0)).square().sum(1)  # their mean is the estimate
    return terms.mean(), terms.std() / m**0.5


class GradientVarianceMeter:
    """Readings in training.

    One column of fewer than 16 steps has no units in it: then the estimates of 64 updates in a row are the
    units, and the variance is that of one of them, θ taken as still meanwhile.
    """

    def __init__(self) -> None:
        self.window: list[Tensor] = []  # [P] each; empty while no reading is under way

    @property
    def reading_under_way(self) -> bool:
        return bool(self.window)

    def measure(
        self, policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator
    ) -> Measurement | None:
        """A reading, if it is complete."""
        if not needs_window(rollout):
            return measure_gradient_variance(policy, rollout, value, estimator)
        scores = policy.scores(rows_by_unit(rollout.obs[:-1], 1), rows_by_unit(rollout.action, 1))
        self.window.append(estimate_gradient(policy, scores, rollout, value, estimator, 1))
        if len(self.window) < WINDOW:
            return None
        window, self.window = torch.stack(self.window), []
        without = (window.sum(0) - window) / (WINDOW - 1)
        variance, error = jackknife(without)
        return Measurement(window[-1], WINDOW * variance, WINDOW * error, without, per_unit=True)

    def state_dict(self) -> dict[str, Any]:
        return {"window": list(self.window)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.window = list(state["window"])


def needs_window(rollout: Rollout) -> bool:
    steps, columns = rollout.mask.shape
    in_order = rollout.replayed_from is None and steps >= BLOCKS  # drawn from a buffer, rows are no time
    return columns == 1 and not in_order and not rollout.whole_episodes


def measure_gradient_variance(
    policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator
) -> Measurement | None:
    """The meter's reading for the update that starts from ``rollout``; None with fewer than two units."""
    steps, columns = rollout.mask.shape
    units = columns // rollout.group if columns > 1 or rollout.whole_episodes else BLOCKS
    if units < 2 or steps < units // columns:
        return None
    scores = policy.scores(rows_by_unit(rollout.obs[:-1], units), rows_by_unit(rollout.action, units))
    gradient = estimate_gradient(policy, scores, rollout, value, estimator, units)
    closed = estimator.has_closed_form(rollout)
    delete_one = delete_in_closed_form if closed else delete_and_recompute
    without = delete_one(policy, scores, rollout, value, estimator, units)
    return Measurement(gradient, *jackknife(without), without)


def estimate_gradient(
    policy: Policy, scores: Scores, rollout: Rollout, value: Tensor, estimator: Estimator, units: int
) -> Tensor:
    """ĝ [P]"""
    psi, correction = estimator.psi(rollout, value, policy)
    gradient = scores.sums(rows_by_unit(rollout.mask * psi, units), 1)[0] / rollout.count
    return gradient if correction is None else gradient + correction


def delete_in_closed_form(
    policy: Policy, scores: Scores, rollout: Rollout, value: Tensor, estimator: Estimator, units: int
) -> Tensor:
    """ĝ₍₋ᵢ₎ [M, P] where Ψ without unit i is scaleᵢₜ·xₜⱼ − shiftᵢₜ, normalised anew
    or not: linear in sums of scores.

    With Aₜ = Σⱼ mask·x·∇log π and Bₜ = Σⱼ mask·∇log π over all units, Σₜ (scaleᵢₜAₜ − shiftᵢₜBₜ) minus the
    unit's own part.
    """
    scheme = estimator.scheme
    psi = scheme.delete_one_psi(rollout, value, estimator.gamma, units)
    require_delete_one(scheme.delete_one_psi, psi, rollout, units)
    psi = psi.centered(rollout.mask)
    psi = normalise_delete_one(psi, rollout, units, estimator.advantage_norm)
    mask, x = rows_by_unit(rollout.mask, units), rows_by_unit(psi.x, units)
    scale, shift = (psi.by_row(s, len(mask) // units) for s in (psi.scale, psi.shift))
    own = scores.sums(mask * (scale * x - shift), units)
    if len(psi.scale) > 1:
        scores, mask, x = scores.transposed(units), rollout.mask.flatten(), psi.x.flatten()
    groups = len(psi.scale)
    total = psi.scale.T @ scores.sums(mask * x, groups) - psi.shift.T @ scores.sums(mask, groups)
    return (total - own) / (rollout.count * (units - 1) / units)


def delete_and_recompute(
    policy: Policy, scores: Scores, rollout: Rollout, value: Tensor, estimator: Estimator, units: int
) -> Tensor:
    """ĝ₍₋ᵢ₎ [M, P] for any scheme: everything anew from the rollout without unit i.

    A column is taken out, or a group of them; a block of one column is masked, since what stands before it is
    still followed by it.
    """
    result = []
    columns = torch.arange(rollout.mask.shape[1], device=value.device)
    size = len(columns) // units  # of a group, where there are some
    for i in range(units):
        if rollout.mask.shape[1] == 1:
            rest = mask_block(rollout, i, units)
            result.append(estimate_gradient(policy, scores, rest, value, estimator, units))
            continue
        keep = torch.cat([columns[: i * size], columns[(i + 1) * size :]])
        rest = rollout.columns(keep)
        kept = scores.units(len(columns), keep)
        result.append(estimate_gradient(policy, kept, rest, value[:, keep], estimator, units - 1))
    return torch.stack(result)


def mask_block(rollout: Rollout, i: int, units: int) -> Rollout:
    """One column without the rows of its i-th block of time, the divisor in proportion."""
    blocks = list(rollout.mask.tensor_split(units))
    blocks[i] = torch.zeros_like(blocks[i])
    return replace(rollout, mask=torch.cat(blocks), count=rollout.count * (units - 1) / units)
