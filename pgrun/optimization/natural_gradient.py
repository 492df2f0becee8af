"""Natural steps: the Fisher matrix as a linear map, conjugate gradients, and what a step predicts.

The Fisher matrix per state, averaged over the update's states, is the Hessian of KL(π_old‖π_θ) at θ_old
(Kakade 2002):

    F = mean_s E_a[∇log π ∇log πᵀ] = mean_s JᵀMJ,

J = ∂params/∂θ of the network and M the metric of the distribution in its parameters. Both products are closed
forms, so that Fv costs one tangent and one backward pass, and no graph is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pgrun.policies.policy import Policy
from pgrun.types import Batch, each_tensor

if TYPE_CHECKING:
    from torch import Tensor

    Product = Callable[[Tensor], Tensor]


def fisher_product(policy: Policy, batch: Batch, damping: float, sampled: bool = False) -> Product:
    """v ↦ (F + damping·I)v over the rows with mask 1, at the present θ.

    ``sampled`` takes the outer products of the scores of the batch's own actions, drawn from π, for M:
    F̂ = mean ggᵀ.
    """
    kept = policy.activations(batch.obs)
    head = policy.value_outputs  # V in front, which has no part in KL
    params = kept[-1][:, head:]
    weight = (batch.mask / batch.mask.sum().clamp(min=1))[:, None]

    score = policy.dist.score(params, batch.action) if sampled else None

    def metric(u: Tensor) -> Tensor:
        if score is None:
            return policy.dist.metric(params, u)
        return score * (score * u).sum(1, keepdim=True)

    def product(v: Tensor) -> Tensor:
        moved = policy.net.tangent(policy.net.layers(v), policy.layers, kept)[:, head:]
        delta = policy.output_delta(weight * metric(moved), 0.0)
        return policy.net.gradient(policy.layers, kept, delta) + damping * v

    return product


@dataclass(frozen=True)
class Solution:
    x: Tensor  # [P]
    residual: Tensor  # []  ‖b − Ax‖/‖b‖


def conjugate_gradient(product: Product, b: Tensor, iterations: int, tolerance: float = 1e-10) -> Solution:
    """x with Ax ≈ b for a positive definite A, known by its products
    (Hestenes & Stiefel 1952). b = 0 gives 0.

    Stops early where rounding leaves no curvature along the next direction. On a device, where looking
    whether to stop would wait for it at every iteration, the remaining ones change nothing instead.
    """
    on_host = b.device.type == "cpu"
    x = torch.zeros_like(b)
    r, p = b.clone(), b.clone()
    squared = start = r.dot(r)
    stopped = torch.zeros_like(start, dtype=torch.bool)
    for _ in range(iterations):
        stopped = stopped | (squared <= tolerance * start) | (squared == 0)
        if on_host and stopped:
            break
        z = product(p)
        curvature = p.dot(z)
        stopped = stopped | (curvature <= 0)
        if on_host and stopped:
            break
        alpha = squared / curvature
        ahead = x + alpha * p, r - alpha * z
        x, r = ahead if on_host else (torch.where(stopped, *pair) for pair in zip((x, r), ahead, strict=True))
        before, squared = squared, r.dot(r)
        p = r + (squared / before) * p
    return Solution(x, torch.where(start > 0, (squared / start).sqrt(), start))


def solve_dense(product: Product, b: Tensor) -> Solution:
    """The least-squares solution with the matrix written out, column by column; b
    must not have thousands of entries.
    """
    matrix = torch.stack([product(column) for column in torch.eye(len(b), dtype=b.dtype, device=b.device)], 1)
    x = torch.linalg.pinv(matrix, hermitian=True) @ b
    return Solution(x, (b - matrix @ x).norm() / b.norm().clamp(min=1e-30))


def mean_kl(policy: Policy, batch: Batch, params: Tensor | None = None) -> Tensor:
    """Exact mean KL(π_old‖π_θ) over the rows with mask 1.

    ``params``: those of π_θ(·|s) [B, K], where they are at hand.
    """
    kl = policy.dist.kl(batch.params, policy.params(batch.obs) if params is None else params)
    return (kl * batch.mask).sum() / batch.mask.sum().clamp(min=1)


def in_float64(policy: Policy, batch: Batch) -> tuple[Policy, Batch]:
    """Copies of both in float64, π_old's parameters and log-probabilities computed anew from θ.

    In float32 a mean KL of 1e-2 is off by 4e-6 of itself and one of 1e-6 by 3e-2, as measured on a Gaussian
    policy (it is a difference of terms of size 1): too much to promise KL ≤ δ.
    """
    twin = policy.with_theta(policy.theta.to(torch.float64, copy=True))
    exact = replace(batch, **each_tensor(batch, lambda x: x.double() if x.is_floating_point() else x))
    params = twin.params(exact.obs)
    return twin, replace(exact, params=params, log_prob=twin.dist.log_prob(params, batch.action))
