"""The policy that collects, where it is another than the one whose gradient is estimated:
``behaviour.theta``, ``behaviour.distance``.
"""

from __future__ import annotations

from typing import Any

import torch

from pgrun.errors import InvalidCommand
from pgrun.exact import Problem, table, visits
from pgrun.policies.policy import Policy
from pgrun.tools.study.policy import logits
from pgrun.tools.study.settings import Behaviour

CLOSE = 1e-6  # relative error to which a distance is met


def behaving(
    policy: Policy,
    wanted: Behaviour,
    p: Problem | None,
    generator: torch.Generator,
    section: str = "behaviour",
) -> Policy:
    """The policy itself, where no other is asked for. ``section``: as users type it."""
    if not wanted.wanted:
        return policy
    other = Policy(
        policy.net, policy.dist, policy.theta.clone(), policy.normaliser, bool(policy.value_outputs)
    )
    if wanted.theta is not None:
        other.theta.copy_(logits(wanted.theta, other.net.inputs, other.dist.linear))
    if wanted.distance is not None:
        assert p is not None
        direction = torch.randn(policy.theta.shape, generator=generator, dtype=torch.float64)
        move(other, policy, direction.to(policy.theta), p, wanted.distance, section)
    return other


def move(
    other: Policy, policy: Policy, direction: Any, p: Problem, distance: float, section: str = "behaviour"
) -> None:
    """θ + s·direction with the s > 0 at which the distance is met; the same direction for every distance."""
    low, high = 0.0, 1e-3
    while at(other, policy, high * direction, p) < distance:
        low, high = high, 2 * high
        if high > 1e6:
            raise InvalidCommand(
                f"{section}.distance={distance:g}: no policy in that direction is so far away; take less"
            )
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if at(other, policy, middle * direction, p) < distance else (low, middle)


def at(other: Policy, policy: Policy, step: Any, p: Problem) -> float:
    other.theta.copy_(policy.theta + step)
    return distance(policy, other, p)


def distance(policy: Policy, other: Policy, p: Problem) -> float:
    """Mean KL(β‖π) over the states that β visits: what the data are from, compared
    with what they are used for.
    """
    beta, pi = table(other, p), table(policy, p)
    often = visits(p, beta).sum(0)
    kl = (beta * (beta / pi).log()).sum(1)
    return float(often @ kl / often.sum())
