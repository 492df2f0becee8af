from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.config.schema import NonNegative, Positive, Repeats
from pgrun.optimization.natural_gradient import (
    Solution,
    conjugate_gradient,
    fisher_product,
    mean_kl,
    solve_dense,
)
from pgrun.optimization.schedules import OVER_THE_RUN, KindOfRadius, Schedule
from pgrun.policies.importance import weighted_log_ratio
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Npg(Algorithm):
    """The natural gradient: Δθ = αF⁻¹g, g = ∇J (Kakade 2002; Amari 1998).

    F is the Hessian of the mean KL at θ (``fisher=exact``), or the mean outer product of the sampled scores.
    x ≈ A⁻¹g is solved with A = F + ``damping``·I: ``solver=cg`` never forms it; ``solver=dense`` does, for
    small networks. ``step=radius`` takes α = √(2δ/xᵀAx), so that ½ΔᵀAΔ = δ; ``step=fixed`` takes α itself. In
    exact arithmetic xᵀAx = gᵀx, however early CG stops; in float32 the two come apart, and only xᵀAx is about
    the x at hand. A zero gradient is a zero step. ``delta_schedule`` takes δ to ``delta_end`` over the run: a
    step's KL is δ however small the gradient, and of a policy that has learned the gradient is mostly noise.
    """

    step: Literal["radius", "fixed"] = "radius"
    delta: Positive = 0.01  # δ, the KL of a step to second order, with step=radius
    delta_schedule: KindOfRadius = "constant"
    delta_end: NonNegative = 0.0  # where linear and cosine take it
    alpha: Positive = 0.1  # α, with step=fixed
    fisher: Literal["exact", "sampled"] = "exact"  # Hessian of the KL; outer products of scores
    solver: Literal["cg", "dense"] = "cg"  # conjugate gradients; dense: F written out, for small networks
    iterations: Repeats = 10  # of conjugate gradients
    damping: NonNegative = 1e-3  # added to the diagonal of F
    told: dict[str, Tensor] = field(init=False, default_factory=dict, repr=False)

    takes_own_step: ClassVar[bool] = True
    read_when: ClassVar = {
        **Algorithm.read_when,
        "delta": ("step", "radius"),
        "delta_schedule": ("step", "radius"),
        "delta_end": ("delta_schedule", OVER_THE_RUN),
        "alpha": ("step", "fixed"),
        "iterations": ("solver", "cg"),
    }
    tags: ClassVar[tuple[str, ...]] = ("step/kl_predicted", "step/kl_realised", "step/cg_residual")

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        return {**super().schedules, "delta": Schedule(self.delta, self.delta_schedule, self.delta_end)}

    @property
    def kl_radius(self) -> float:
        """δ at this point of the run."""
        return self.schedules["delta"].value

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * weighted_log_ratio(log_prob, batch).exp()).sum() / batch.count

    def improve(self, batch: Batch, learner: Learner) -> None:
        policy = learner.policy
        gradient = -self.loss_gradient(batch, learner)
        product = fisher_product(policy, batch, 0.0, self.fisher == "sampled")
        solution = self.solve(lambda v: product(v) + self.damping * v, gradient)
        x = solution.x
        curvature = x.dot(product(x))
        size = self.step_size(curvature + self.damping * x.dot(x))
        taken, kl = self.move(size * x, batch, learner)
        self.told |= {
            "step/kl_predicted": 0.5 * (taken * size).square() * curvature,
            "step/kl_realised": kl,
            "step/cg_residual": solution.residual,
        }

    def solve(self, product: Callable[[Tensor], Tensor], gradient: Tensor) -> Solution:
        if self.solver == "dense":
            return solve_dense(product, gradient)
        return conjugate_gradient(product, gradient, self.iterations)

    def step_size(self, curvature: Tensor) -> Tensor:
        """α, from xᵀAx ≥ 0."""
        if self.step == "fixed":
            return torch.full_like(curvature, self.alpha)
        return torch.where(curvature > 0, (2 * self.kl_radius / curvature.clamp(min=1e-30)).sqrt(), 0.0)

    def move(self, step: Tensor, batch: Batch, learner: Learner) -> tuple[float, Tensor]:
        """Move θ; (the share of the step that was taken, the mean KL that it made)."""
        learner.policy.theta.add_(step)
        return 1.0, mean_kl(learner.policy, batch)

    def scalars(self) -> dict[str, Tensor]:
        return self.told
