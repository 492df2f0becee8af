from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.npg import Npg
from pgrun.config.schema import Range, Repeats
from pgrun.optimization.natural_gradient import in_float64, mean_kl
from pgrun.optimization.schedules import OVER_THE_RUN
from pgrun.policies.policy import Policy
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Trpo(Npg):
    """max L = 1/count Σ mask·ρΨ subject to mean KL(old‖new) ≤ δ (Schulman et al.
    2015, eq. 14 and appendix C).

    The natural step of radius δ, then θ_old + βʲΔθ for the smallest j < ``backtracks`` with KL ≤ δ.
    ``improve_surrogate`` asks for a larger objective as well: what was differentiated, so L with its entropy
    bonus and with the correction of a baseline for each parameter. If none is found θ stays, bit for bit.
    Both conditions are checked in float64, so that they hold for whoever recomputes them.
    """

    step: Literal["radius"] = field(init=False, default="radius")  # no settings of this one
    alpha: float = field(init=False, default=0.0)
    backtrack: Annotated[float, Range(0, 1, open=True, below=True)] = 0.8  # times a step that fails
    backtracks: Repeats = 10  # how often, at most
    improve_surrogate: bool = True

    read_when: ClassVar = {  # it has the radius alone
        **Algorithm.read_when,
        "delta_end": ("delta_schedule", OVER_THE_RUN),
        "iterations": ("solver", "cg"),
    }
    tags: ClassVar[tuple[str, ...]] = (*Npg.tags, "step/line_search_steps", "step/accepted")

    def move(self, step: Tensor, batch: Batch, learner: Learner) -> tuple[float, Tensor]:
        policy, old = learner.policy, learner.policy.theta.clone()
        twin, exact = in_float64(policy, batch)
        before = self.objective(twin, exact, exact.params)
        kl = torch.zeros_like(before)
        accepted, tried = False, 0
        if bool(step.any()):
            while not accepted and tried < self.backtracks:
                policy.theta.copy_(old + self.backtrack**tried * step)
                twin.theta.copy_(policy.theta)
                params = twin.params(exact.obs)
                kl = mean_kl(twin, exact, params)
                accepted = self.is_acceptable(kl, self.objective(twin, exact, params), before)
                tried += 1
        if not accepted:
            policy.theta.copy_(old)
        self.told["step/line_search_steps"] = torch.tensor(float(tried))
        self.told["step/accepted"] = torch.tensor(float(accepted))
        if not accepted:
            return 0.0, torch.zeros_like(kl)
        return self.backtrack ** (tried - 1), kl

    def is_acceptable(self, kl: Tensor, value: Tensor, before: Tensor) -> bool:
        """Whether a step may be taken, from the mean KL that it makes and the objective there and before."""
        if not bool(kl <= self.kl_radius):
            return False
        return not self.improve_surrogate or bool(value > before)

    def objective(self, policy: Policy, batch: Batch, params: Tensor | None = None) -> Tensor:
        """What ``loss_gradient`` differentiates, at the policy's θ:
        L + c_H·(1/count) Σ mask·H + correctionᵀθ.

        ``params``: those of π_θ(·|s) [B, K], where they are at hand.
        """
        params = policy.params(batch.obs) if params is None else params
        surrogate = self.surrogate(policy.dist.log_prob(params, batch.action), batch)
        bonus = self.entropy_weight / batch.count * (batch.mask * policy.dist.entropy(params)).sum()
        linear = 0.0 if batch.correction is None else batch.correction.dot(policy.theta)
        return surrogate + bonus + linear
