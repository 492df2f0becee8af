from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.returns import episode_return
from pgrun.types import Rollout
from pgrun.variance.base import Discounted, returns_to_go
from pgrun.variance.leave_out import DeleteOnePsi

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MeanBaseline(Discounted):
    """Ψₜ = r(τᵢ) − r̄, the batch's mean; with ``returns=reward_to_go`` Gₜ − the mean
    of Gₜ over the episodes alive at t.

    The baseline has seen τᵢ itself: the estimate has mean (N−1)/N ∇J over N episodes, and by time step
    1 − (1 − (1−pₜ)^N)/(N pₜ) of it, pₜ the chance to be alive at t. ``leave_one_out`` is the unbiased form.
    """

    returns: Literal["whole", "reward_to_go"] = "whole"  # all of it, or what came after the action
    whole_episodes: ClassVar[bool] = True
    compares_episodes: ClassVar[bool] = True
    read_when: ClassVar = {"discounting": ("returns", "reward_to_go")}  # whole: always from the start

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """In float64: equal returns are centred to 0, and not to a rounding error that a norm makes large."""
        if self.returns == "whole":
            total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma).double()
            return (total - total.mean()).to(rollout.reward).expand_as(rollout.reward)
        to_go = returns_to_go(rollout, value, gamma).double()
        alive = rollout.mask.sum(1, keepdim=True).clamp(min=1)
        mean = (rollout.mask * to_go).sum(1, keepdim=True) / alive
        return self.from_time((to_go - mean).to(rollout.reward), rollout, gamma)

    def delete_one_psi(self, rollout: Rollout, value: Tensor, gamma: float, units: int) -> DeleteOnePsi:
        if self.returns == "whole":
            total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma).double()
            shift = (total.sum() - total) / max(units - 1, 1)
            return DeleteOnePsi(total.expand_as(rollout.reward), torch.ones_like(shift)[None], shift[None])
        to_go, alive = rollout.mask * returns_to_go(rollout, value, gamma).double(), rollout.mask
        others = (alive.sum(1, keepdim=True) - alive).clamp(min=1)
        mean = (to_go.sum(1, keepdim=True) - to_go) / others
        return DeleteOnePsi(to_go, torch.ones_like(mean), mean).discounted(self.time_factor(rollout, gamma))

    @property
    def has_constant_baseline(self) -> bool:
        return self.returns == "whole"
