"""What every scheme is: a pure function from a rollout and values to weights Ψ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.policies.policy import Policy
from pgrun.returns import lambda_return
from pgrun.types import Rollout
from pgrun.variance.leave_out import DeleteOnePsi, keep_psi

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scheme:
    """A choice of Ψ."""

    uses_critic: ClassVar[bool] = False
    uses_value: ClassVar[bool] = True  # reads the critic's V(s), if it uses a critic
    uses_q: ClassVar[bool] = False  # reads Q(s, a): from an exact critic, or a critic of actions
    uses_every_q: ClassVar[bool] = False  # and that of every action: from an exact critic
    whole_episodes: ClassVar[bool] = False  # needs sampler=episodes
    sees_scores: ClassVar[bool] = False  # overrides ``estimate``
    compares_episodes: ClassVar[bool] = False  # its baseline comes from the other episodes: two are needed
    usual_group: ClassVar[int] = (
        1  # episodes from each start that it compares; the sampler's, where it says none
    )
    leaves_groups_out: ClassVar[bool] = False  # ``delete_one_psi`` is right for units of several episodes too

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """Ψ [T, N], of rows with mask 1; value [T+1, N] is V(s), zero without a critic."""
        raise NotImplementedError

    def delete_one_psi(self, rollout: Rollout, value: Tensor, gamma: float, units: int) -> DeleteOnePsi:
        """Ψ of the other units once each of ``units`` is left out, in closed form, for schemes that have one.

        A scheme that does not write it is computed anew without each unit: right for every scheme, and
        slower.
        """
        raise NotImplementedError

    @property
    def has_closed_form(self) -> bool:
        """Whether ``delete_one_psi`` is there, and is that of this Ψ: the reading of the gradient's variance
        chooses by it. A subclass of a scheme that writes another Ψ and not that with it has none.
        """
        kinds = type(self).__mro__
        owner = next(kind for kind in kinds if "delete_one_psi" in vars(kind))
        writers = sum("psi" in vars(kind) for kind in kinds[: kinds.index(owner)])
        return owner is not Scheme and writers <= (owner is PerColumn)

    @property
    def corrects_gradient(self) -> bool:
        """Whether ``estimate`` adds to the gradient: of one step, at θ_old, in its own units."""
        return False

    @property
    def has_constant_baseline(self) -> bool:
        """Whether every action of the batch gets r(τ) minus one number: centring Ψ
        puts the batch's mean in its place.
        """
        return False

    def estimate(
        self, rollout: Rollout, value: Tensor, gamma: float, policy: Policy
    ) -> tuple[Tensor, Tensor | None]:
        """(Ψ, what is added to the gradient [P] beside it): schemes that look at the scores themselves
        override this.
        """
        return self.psi(rollout, value, gamma), None

    def params_correction(self, rollout: Rollout, gamma: float, policy: Policy) -> Tensor | None:
        """What each row adds to the gradient beside Ψ∇log π, as ∂/∂params of its distribution [T, N, K]: that
        of schemes whose correction is a sum over rows.
        """
        return None


@dataclass(frozen=True)
class PerColumn(Scheme):
    """A scheme whose Ψ in a column of the rollout depends on that column alone."""

    leaves_groups_out: ClassVar[bool] = True

    def delete_one_psi(self, rollout: Rollout, value: Tensor, gamma: float, units: int) -> DeleteOnePsi:
        return keep_psi(self.psi(rollout, value, gamma), units)


@dataclass(frozen=True)
class Discounted(Scheme):
    """``discounting``: the factor γ^t of the gradient of J_γ (``from_start``), or none (``reward_to_go``,
    usual in practice).
    """

    discounting: Literal["reward_to_go", "from_start"] = "reward_to_go"

    def from_time(self, weight: Tensor, rollout: Rollout, gamma: float) -> Tensor:
        """weight, with the factor γ^t where ``discounting`` asks for it."""
        return weight * gamma**rollout.time if self.discounting == "from_start" else weight

    def time_factor(self, rollout: Rollout, gamma: float) -> Tensor:
        """What ``from_time`` multiplies by in whole episodes [T, 1]."""
        steps = torch.arange(len(rollout.time), dtype=rollout.time.dtype, device=rollout.time.device)
        return self.from_time(torch.ones_like(steps), replace(rollout, time=steps), gamma)[:, None]


def returns_to_go(rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
    """Gₜ = Σ_{t'≥t} γ^{t'−t} r_{t'}, bootstrapped from value at a truncation or cut."""
    return lambda_return(rollout.reward, rollout.terminated, rollout.ended, value, gamma, 1.0)
