from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.algos.base import Algorithm, Learner
from pgrun.natural import Solution, conjugate_gradient, dense, fisher, mean_kl
from pgrun.schema import NonNegative, Positive, Repeats
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Npg(Algorithm):
    """The natural gradient: Δθ = αF⁻¹g, g = ∇J (Kakade 2002; Amari 1998).

    ``step=radius`` takes α = √(2δ/gᵀF⁻¹g), the step whose KL is δ to second order; ``step=fixed`` takes α itself.
    F is the Hessian of the mean KL at θ (``fisher=exact``), or the mean outer product of the sampled scores, plus
    ``damping``·I. ``solver=cg`` never forms it; ``solver=dense`` does, for small networks. A zero gradient is a zero step.
    """

    step: Literal["radius", "fixed"] = "radius"
    delta: Positive = 0.01
    alpha: Positive = 0.1
    fisher: Literal["exact", "sampled"] = "exact"
    solver: Literal["cg", "dense"] = "cg"
    iterations: Repeats = 10
    damping: NonNegative = 1e-3
    told: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)

    own_step: ClassVar[bool] = True
    read_when: ClassVar = {
        "delta": ("step", "radius"),
        "alpha": ("step", "fixed"),
        "iterations": ("solver", "cg"),
    }
    tags: ClassVar[tuple[str, ...]] = (
        "step/kl_predicted",
        "step/kl_realised",
        "step/cg_residual",
        "step/size",
    )

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * (log_prob - batch.log_prob).exp()).sum() / batch.count

    def improve(self, batch: Batch, learner: Learner) -> None:
        policy = learner.policy
        gradient = -self.loss_gradient(batch, learner)
        product = fisher(policy, batch, self.damping, self.fisher == "sampled")
        solution = self.solve(product, gradient)
        size = self.step_size(gradient.dot(solution.x))
        step = size * solution.x
        self.told = {
            "step/kl_predicted": 0.5 * step.dot(product(step)),
            "step/cg_residual": solution.residual,
            "step/size": step.norm(),
        }
        self.told["step/kl_realised"] = self.move(step, batch, learner)

    def solve(self, product, gradient: Tensor) -> Solution:
        if self.solver == "dense":
            return dense(product, gradient)
        return conjugate_gradient(product, gradient, self.iterations)

    def step_size(self, curvature: Tensor) -> Tensor:
        """α, from gᵀF⁻¹g ≥ 0."""
        if self.step == "fixed":
            return torch.full_like(curvature, self.alpha)
        return torch.where(curvature > 0, (2 * self.delta / curvature.clamp(min=1e-30)).sqrt(), 0.0)

    def move(self, step: Tensor, batch: Batch, learner: Learner) -> Tensor:
        """Move θ; the mean KL that it made."""
        learner.policy.theta.add_(step)
        return mean_kl(learner.policy, batch)

    def scalars(self) -> dict[str, Tensor]:
        return self.told
