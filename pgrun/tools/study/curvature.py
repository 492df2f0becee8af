"""The Fisher matrix of the frozen policy on the states that it visits: sampled against exact, solved by
conjugate gradients, and the steps it makes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import NoCritic
from pgrun.optimization.natural_gradient import (
    conjugate_gradient,
    fisher_product,
    in_float64,
    mean_kl,
    solve_dense,
)
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.score import Reference
from pgrun.tools.study.settings import Step
from pgrun.types import Batch
from pgrun.variance.leave_one_out import LeaveOneOut

if TYPE_CHECKING:
    from torch import Tensor

DAMPING = 0.01  # of the systems that conjugate gradients solve: F alone has directions that no state shows
WRITTEN_OUT = 1000  # parameters of a system that is also solved with its matrix written out
ROWS, SOLVED = 20_000, 2_000  # states that are looked at, and those of a system that is solved
REPEATS, DRAWN = 20, 60  # of a timed product, and of a sampled matrix


def select_valid_rows(seen: Seen, gamma: float) -> tuple[Policy, Batch]:
    """The rollout's rows with mask 1, and the policy, in float64; Ψ: the return to go
    less the others' mean.
    """
    rollout = seen.rollout
    estimator = Estimator(LeaveOneOut(discounting="from_start", returns="reward_to_go"), gamma)
    value = rollout.reward.new_zeros(rollout.obs.shape[:-1])
    batch = estimator.batch(rollout, value, NoCritic(), seen.policy)
    there = batch.rows(batch.mask.nonzero()[:ROWS, 0])
    return in_float64(seen.policy, there)


class Curvature:
    """What all three look at: the first rollout."""

    key = ""

    def __init__(self, gamma: float):
        self.gamma = gamma
        self.found: dict[str, Any] | None = None

    def see(self, seen: Seen) -> None:
        if self.found is None:
            self.found = self.of(*select_valid_rows(seen, self.gamma))

    def of(self, policy: Policy, batch: Batch) -> dict[str, Any]:
        raise NotImplementedError

    def result(self) -> dict[str, Any]:
        assert self.found is not None
        return self.found


class SampledFisher(Curvature):
    """F̂_N = 1/N Σ ggᵀ of N visited states drawn at random, each with a fresh action of the policy, beside
    F = mean_s E_a[ggᵀ] over all of them, the Hessian of their mean KL.

    With c = E‖ggᵀ − F‖² the mean square error is c/N: ``predicted`` is √(c/N)/‖F‖.
    """

    key = "fisher"

    def __init__(self, gamma: float, sizes: tuple[int, ...], generator: torch.Generator):
        super().__init__(gamma)
        self.sizes, self.generator = sizes, generator

    def of(self, policy: Policy, batch: Batch) -> dict[str, Any]:
        exact = dense_matrix(fisher_product(policy, batch, 0.0), policy)
        scores = self.scores(policy, batch.obs)
        scatter = float((scores.square().sum(1).square().mean() - exact.square().sum()).clamp(min=0).sqrt())
        size = float(exact.norm())
        table = [self.at(n, policy, batch, exact) for n in self.sizes]
        for entry in table:
            entry["predicted"] = scatter / size / entry["samples"] ** 0.5
        return {
            "rows": len(batch.mask),
            "parameters": len(policy.theta),
            "rank_exact": matrix_rank(exact),
            "sizes": table,
        }

    def scores(self, policy: Policy, obs: Tensor) -> Tensor:
        """∇log π(a|s) of an action drawn in each state [K, P]."""
        noise = policy.dist.noise((len(obs),), self.generator, obs.dtype)
        action = policy.dist.act(policy.params(obs), noise)
        return policy.scores(obs, action).sums(obs.new_ones(len(obs)), len(obs))

    def at(self, n: int, policy: Policy, batch: Batch, exact: Tensor) -> dict[str, Any]:
        errors, ranks = [], []
        for _ in range(DRAWN):
            drawn = self.scores(
                policy, batch.obs[torch.randint(len(batch.obs), (n,), generator=self.generator)]
            )
            sampled = drawn.T @ drawn / n
            errors.append(float((sampled - exact).norm() / exact.norm()))
            ranks.append(matrix_rank(sampled))
        some = batch.rows(torch.arange(n) % len(batch.mask))
        error = torch.tensor(errors)
        return {
            "samples": n,
            "error": float(error.square().mean().sqrt()),
            "error_se": float(error.square().std() / DRAWN**0.5 / (2 * error.square().mean().sqrt())),
            "rank": max(ranks),
            "microseconds_outer": time_product(fisher_product(policy, some, 0.0, sampled=True), policy),
            "microseconds_hessian": time_product(fisher_product(policy, some, 0.0), policy),
        }


class Solving(Curvature):
    """(F + 0.01·I)x = ĝ by conjugate gradients, which asks for products alone: the residual after each
    iteration, and the dense solution.
    """

    key = "cg"

    def __init__(self, gamma: float, iterations: int):
        super().__init__(gamma)
        self.iterations = iterations

    def of(self, policy: Policy, batch: Batch) -> dict[str, Any]:
        batch = batch.rows(slice(SOLVED))
        product, b = fisher_product(policy, batch, DAMPING), ascent_gradient(policy, batch)
        solutions = [conjugate_gradient(product, b, k, 0.0) for k in range(1, self.iterations + 1)]
        x = solutions[-1].x
        measured = {
            "rows": len(batch.mask),
            "parameters": len(policy.theta),
            "residuals": [float((b - product(s.x)).norm() / b.norm()) for s in solutions],
            "microseconds_product": time_product(product, policy),
        }
        if len(policy.theta) > WRITTEN_OUT:
            return measured
        start = time.perf_counter()
        oracle = solve_dense(product, b).x
        seconds = time.perf_counter() - start
        off = float((x - oracle).norm() / oracle.norm())
        return measured | {"off_dense": off, "microseconds_dense": 1e6 * seconds}


class Steps(Curvature):
    """One step of a given length in θ along ∇J, and one natural step of a given KL: what the quadratic model
    says, and what happens.
    """

    key = "step"

    def __init__(self, gamma: float, step: Step, reference: Reference):
        super().__init__(gamma)
        self.step, self.slope = step, reference.gradient

    def of(self, policy: Policy, batch: Batch) -> dict[str, Any]:
        f = dense_matrix(fisher_product(policy, batch, 0.0), policy)
        g = self.slope.to(f)
        natural = torch.linalg.pinv(f, hermitian=True) @ g
        measured: dict[str, Any] = {
            "rows": len(batch.mask),
            "fisher_diagonal": f.diagonal().tolist() if len(f) <= 16 else None,
        }
        if self.step.distance is not None:
            measured["euclidean"] = measure_step(self.step.distance * g / g.norm(), policy, batch, f, g)
        if self.step.kl is not None:
            size = (2 * self.step.kl / (g @ natural)).sqrt()
            measured["natural"] = measure_step(size * natural, policy, batch, f, g)
        return measured


def measure_step(delta: Tensor, policy: Policy, batch: Batch, f: Tensor, g: Tensor) -> dict[str, float]:
    """What a step does to the policy; the policy stays."""
    before = policy.theta.clone()
    policy.theta.add_(delta)
    forth = float(mean_kl(policy, batch))
    kl = policy.dist.kl(policy.params(batch.obs), batch.params)
    policy.theta.copy_(before)
    return {
        "distance": float(delta.norm()),
        "kl_predicted": float(delta @ f @ delta) / 2,
        "kl_old_new": forth,
        "kl_new_old": float((kl * batch.mask).sum() / batch.mask.sum()),
        "gain_predicted": float(g @ delta),
    }


def ascent_gradient(policy: Policy, batch: Batch) -> Tensor:
    """ĝ [P]"""
    return policy.scores(batch.obs, batch.action).sums(batch.mask * batch.psi, 1)[0] / batch.count


def dense_matrix(product: Callable[[Tensor], Tensor], policy: Policy) -> Tensor:
    return torch.stack(
        [product(column) for column in torch.eye(len(policy.theta), dtype=policy.theta.dtype)], 1
    )


def matrix_rank(f: Tensor) -> int:
    return int(torch.linalg.matrix_rank(f, hermitian=True, rtol=1e-10))


def time_product(product: Callable[[Tensor], Tensor], policy: Policy) -> float:
    """Microseconds of computing that one product takes, the median."""
    v = torch.ones_like(policy.theta)
    times = []
    for _ in range(REPEATS):
        start = time.thread_time()
        product(v)
        times.append(1e6 * (time.thread_time() - start))
    return round(median(times), 1)
