from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.config.schema import Positive
from pgrun.returns import episode_return
from pgrun.types import Rollout
from pgrun.variance.base import Scheme
from pgrun.variance.leave_out import DeleteOnePsi, keep_psi, sum_of_others

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-8  # beside σ: a group of equal returns has none, and learns nothing


@dataclass(frozen=True)
class Group(Scheme):
    """Ψₜ = Aᵢ/cᵢ: the return r(τᵢ) compared with those of the K episodes from the same start, its group.

        rloo     Aᵢ = r(τᵢ) − the mean of the *other* K − 1   (Kool et al. 2019; Ahmadian et al. 2024)
        dr_grpo  Aᵢ = r(τᵢ) − the group's mean, (K−1)/K times that   (Liu et al. 2025)
        grpo     Aᵢ = (r(τᵢ) − the group's mean)/σ of the group   (Shao et al. 2024)

    ``length`` says what the sum over the |τᵢ| steps of an episode is divided by: cᵢ = ``constant``;
    ``episode`` |τᵢ| itself, as GRPO has it; ``batch`` the mean length in the batch, which gives each token
    one weight (Yu et al. 2025, DAPO). rloo with length=constant and constant=1 is unbiased, whatever the
    episodes of a group share, for their actions are drawn apart; σ and the other lengths come from the same
    episodes, and bias.
    """

    kind: Literal["rloo", "grpo", "dr_grpo"] = "rloo"
    length: Literal["constant", "episode", "batch"] = "constant"
    constant: Positive = 1.0  # what length=constant divides by

    whole_episodes: ClassVar[bool] = True
    compares_episodes: ClassVar[bool] = True
    usual_group: ClassVar[int] = 4
    leaves_groups_out: ClassVar[bool] = True
    read_when: ClassVar = {"constant": ("length", "constant")}

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        total = episode_return(rollout.reward, rollout.mask, rollout.time, gamma)
        advantage = self.compare_returns(total, rollout.group)
        return (advantage / self.divisor(rollout)).expand_as(rollout.reward)

    def compare_returns(self, total: Tensor, group: int) -> Tensor:
        """A [N] from the returns [N] of groups that stand side by side. In float64: equal returns are then
        centred to 0, and not to a rounding error that the division by σ makes large.
        """
        r = total.double().reshape(-1, group)
        centered = r - r.mean(1, keepdim=True)
        if self.kind == "rloo":
            centered = r - (r.sum(1, keepdim=True) - r) / max(group - 1, 1)
        elif self.kind == "grpo":
            variance = centered.square().sum(1, keepdim=True) / max(group - 1, 1)
            centered = centered / (variance.sqrt() + EPSILON)
        return centered.flatten().to(total)

    def divisor(self, rollout: Rollout) -> Tensor:
        """cᵢ [N] or []"""
        steps = rollout.mask.sum(0)
        if self.length == "episode":
            return steps.clamp(min=1)
        return (
            steps.sum() / rollout.count if self.length == "batch" else torch.full_like(steps, self.constant)
        )

    def delete_one_psi(self, rollout: Rollout, value: Tensor, gamma: float, units: int) -> DeleteOnePsi:
        """Groups do not see each other, but for the mean length in the batch."""
        kept = keep_psi(self.psi(rollout, value, gamma), units)
        if self.length != "batch":
            return kept
        steps = rollout.mask.sum(0).reshape(units, -1).sum(1)
        rest = sum_of_others(steps).clamp(min=1) / (steps.sum() * (units - 1) / units)
        return DeleteOnePsi(kept.x, 1 / rest[None], kept.shift)
