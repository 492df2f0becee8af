from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch

from pgrun.algorithms.base import Learner
from pgrun.algorithms.npg import Npg
from pgrun.config.schema import Range, Repeats
from pgrun.optimization.natural_gradient import in_float64, mean_kl
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

    read_when: ClassVar = {"iterations": ("solver", "cg")}  # it has the radius alone
    tags: ClassVar[tuple[str, ...]] = (*Npg.tags, "step/line_search_steps", "step/accepted")

    def move(self, step: Tensor, batch: Batch, learner: Learner) -> tuple[float, Tensor]:
        policy, old = learner.policy, learner.policy.theta.clone()
        twin, exact = in_float64(policy, batch)
        before = self.objective(twin, exact)
        accepted, tried = False, 0
        if bool(step.any()):
            while not accepted and tried < self.backtracks:
                policy.theta.copy_(old + self.backtrack**tried * step)
                twin.theta.copy_(policy.theta)
                accepted = self.acceptable(twin, exact, before)
                tried += 1
        if not accepted:
            policy.theta.copy_(old)
        self.told["step/line_search_steps"] = torch.tensor(float(tried))
        self.told["step/accepted"] = torch.tensor(float(accepted))
        if not accepted:
            return 0.0, before.new_zeros(())
        return self.backtrack ** (tried - 1), mean_kl(twin, exact)

    def acceptable(self, policy: Policy, batch: Batch, before: Tensor) -> bool:
        if not bool(mean_kl(policy, batch) <= self.delta):
            return False
        return not self.improve_surrogate or bool(self.objective(policy, batch) > before)

    def objective(self, policy: Policy, batch: Batch) -> Tensor:
        """What ``loss_gradient`` differentiates, at the policy's θ: L + c_H·(1/count) Σ
        mask·H + correctionᵀθ.
        """
        params = policy.params(batch.obs)
        surrogate = self.surrogate(policy.dist.log_prob(params, batch.action), batch)
        bonus = self.entropy / batch.count * (batch.mask * policy.dist.entropy(params)).sum()
        linear = 0.0 if batch.correction is None else batch.correction.dot(policy.theta)
        return surrogate + bonus + linear
