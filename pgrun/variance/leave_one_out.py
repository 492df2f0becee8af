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
class LeaveOneOut(Discounted):
    """Ψₜ = r(τᵢ) − the mean return of the *other* episodes (Kool et al. 2019); by time step the others alive
    at t, 0 if none.

    Unbiased: the baseline is independent of τᵢ. For the whole return it is N/(N−1) times ``mean_baseline``.
    """

    returns: Literal["whole", "reward_to_go"] = "whole"  # all of it, or what came after the action
    whole_episodes: ClassVar[bool] = True
    compares_episodes: ClassVar[bool] = True
    read_when: ClassVar = {"discounting": ("returns", "reward_to_go")}  # whole: always from the start

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """In float64: equal returns cancel to 0, and not to a rounding error that a norm makes large."""
        if self.returns == "whole":
            total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma).double()
            rest = (total.sum() - total) / max(len(total) - 1, 1)
            return (total - rest).to(rollout.reward).expand_as(rollout.reward)
        to_go = rollout.mask * returns_to_go(rollout, value, gamma).double()
        others = (rollout.mask.sum(1, keepdim=True) - rollout.mask).clamp(min=1)
        mean = (to_go.sum(1, keepdim=True) - to_go) / others
        return self.from_time((to_go - mean).to(rollout.reward), rollout, gamma)

    def delete_one_psi(self, rollout: Rollout, value: Tensor, gamma: float, units: int) -> DeleteOnePsi:
        if self.returns == "whole":
            total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma).double()
            pairs = max(units - 2, 1)  # the others of a unit that stays
            shift = (total.sum() - total) / pairs
            scale = torch.full_like(shift, 1 + 1 / pairs)
            return DeleteOnePsi(total.expand_as(rollout.reward), scale[None], shift[None])
        to_go, alive = rollout.mask * returns_to_go(rollout, value, gamma).double(), rollout.mask
        others = (alive.sum(1, keepdim=True) - alive - 1).clamp(min=1)
        mean = (to_go.sum(1, keepdim=True) - to_go) / others
        return DeleteOnePsi(to_go, 1 + 1 / others, mean).discounted(self.time_factor(rollout, gamma))

    @property
    def has_constant_baseline(self) -> bool:
        return self.returns == "whole"
