from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.policies.policy import Policy
from pgrun.returns import episode_return
from pgrun.types import Rollout
from pgrun.variance.base import Discounted, returns_to_go
from pgrun.variance.leave_out import rows_by_unit, sum_of_others

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OptimalBaseline(Discounted):
    """The constant of least variance. For X = Σₜ wₜgₜ, w the return (to go), and the
    control variate B = Σₜ gₜ of mean 0:

        scalar         b* = E[X·B]/E‖B‖²        Ψₜ = wₜ − b*     (for the whole return E[‖B‖²r]/E‖B‖²)
        per_parameter  b*ₚ = E[XₚBₚ]/E[Bₚ²]     the gradient itself is corrected by −mean b* ⊙ B
        per_step       b*ₜ = E[X·gₜ]/E‖gₜ‖²     Ψₜ = wₜ − b*ₜ

    Greensmith, Bartlett & Baxter 2004. Cross-fitted: each episode's b* comes from the others, so that it
    stays unbiased.
    """

    kind: Literal["scalar", "per_parameter", "per_step"] = "scalar"
    returns: Literal["whole", "reward_to_go"] = "whole"  # all of it, or what came after the action

    whole_episodes: ClassVar[bool] = True
    compares_episodes: ClassVar[bool] = True
    sees_scores: ClassVar[bool] = True
    read_when: ClassVar = {"discounting": ("returns", "reward_to_go")}

    def estimate(
        self, rollout: Rollout, value: Tensor, gamma: float, policy: Policy
    ) -> tuple[Tensor, Tensor | None]:
        weight, mask = self.weight(rollout, value, gamma), rollout.mask
        if self.kind == "scalar":  # w − b* is the same for w less a constant: equal weights are then 0
            exact = weight.double()
            weight = (exact - (mask * exact).sum() / mask.sum().clamp(min=1)).to(weight)
        steps, n = mask.shape
        scores = policy.scores(rows_by_unit(rollout.obs[:-1], n), rows_by_unit(rollout.action, n))
        x, b = scores.sums(rows_by_unit(mask * weight, n), n), scores.sums(rows_by_unit(mask, n), n)
        if self.kind == "per_parameter":
            best = safe_ratio(sum_of_others(x * b), sum_of_others(b * b))  # [N, P]
            return weight, -(best * b).sum(0) / rollout.count
        if self.kind == "scalar":
            return weight - safe_ratio(sum_of_others((x * b).sum(1)), sum_of_others((b * b).sum(1))), None
        along = mask * scores.dots(x).view(n, steps).T
        squares = mask * scores.squared_norms().view(n, steps).T
        return weight - safe_ratio(sum_of_others(along.T).T, sum_of_others(squares.T).T), None

    def weight(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        if self.returns == "whole":
            total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma)
            return total.expand_as(rollout.reward)
        return self.from_time(returns_to_go(rollout, value, gamma), rollout, gamma)

    @property
    def corrects_gradient(self) -> bool:
        return self.kind == "per_parameter"

    @property
    def has_constant_baseline(self) -> bool:
        return self.kind == "scalar" and self.returns == "whole"  # but for the cross-fitting


def safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """0 where there is nothing to divide by."""
    return torch.where(denominator > 0, numerator / denominator.clamp(min=1e-30), 0.0)
