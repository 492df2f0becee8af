"""A tabular policy part of the way to the optimum: exact gradient ascent, without a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pgrun.errors import InvalidCommand
from pgrun.exact import Problem, gradient, objective, policy_table
from pgrun.policies.policy import Policy

if TYPE_CHECKING:
    from torch import Tensor


STEPS = 10_000
CLOSE = 1e-9  # of the way, to which the share is met


def optimal_return(p: Problem, gamma: float) -> float:
    """J* by backward induction over the time limit: V_h = max_a (r + γPV_{h+1}), actions free to depend on h
    and the state.
    """
    v = torch.zeros_like(p.start)
    for _ in range(p.horizon):
        v = (p.reward + gamma * (p.transition @ v)).amax(1)
    return float(p.start @ v)


def climb_to_share(policy: Policy, p: Problem, gamma: float, share: float) -> None:
    """Move θ along ∇J_γ until J = J(start) + share·(J* − J(start)): step sizes double while J rises, and the
    last is cut to fit.
    """
    start, best = exact_return(policy, p, gamma), optimal_return(p, gamma)
    target, size = start + share * (best - start), 1.0
    for _ in range(STEPS):
        here = exact_return(policy, p, gamma)
        if here >= target - CLOSE * abs(best - start):
            return
        theta, slope = policy.theta.clone(), gradient(policy, p, gamma)
        while move_and_evaluate(policy, theta + size * slope, p, gamma) <= here:
            size /= 4
            if size * float(slope.norm()) < 1e-12:
                raise make_stuck_error(share, (here - start) / (best - start))
        if move_and_evaluate(policy, policy.theta, p, gamma) > target:
            bisect_last_step(policy, theta, slope, size, p, gamma, target)
            return
        size *= 2
    raise make_stuck_error(share, (exact_return(policy, p, gamma) - start) / (best - start))


def bisect_last_step(
    policy: Policy, theta: Tensor, slope: Tensor, size: float, p: Problem, gamma: float, target: float
) -> None:
    """Bisect the last step: J is below the target at 0, above it at ``size``."""
    low, high = 0.0, size
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (low, middle)
            if move_and_evaluate(policy, theta + middle * slope, p, gamma) > target
            else (middle, high)
        )


def move_and_evaluate(policy: Policy, theta: Tensor, p: Problem, gamma: float) -> float:
    """J there; the policy stays there."""
    policy.theta.copy_(theta)
    return exact_return(policy, p, gamma)


def exact_return(policy: Policy, p: Problem, gamma: float) -> float:
    return float(objective(p, policy_table(policy, p), gamma))


def make_stuck_error(share: float, reached: float) -> InvalidCommand:
    return InvalidCommand(
        "policy.ascent", f"{share:g}", f"gradient ascent got {reached:.3g} of the way", "take less"
    )
