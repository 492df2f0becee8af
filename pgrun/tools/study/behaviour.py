"""The policy that collects, where it is another than the one whose gradient is estimated:
``behaviour.theta``, ``behaviour.distance``.
"""

from __future__ import annotations

from typing import Any

import torch

from pgrun.errors import InvalidCommand
from pgrun.exact import Problem, policy_table, state_visits
from pgrun.policies.policy import Policy
from pgrun.tools.study.policy import table_logits
from pgrun.tools.study.settings import Behaviour

CLOSE = 1e-6  # relative error to which a distance is met


def make_behaviour_policy(
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
        other.theta.copy_(table_logits(wanted.theta, other.net.inputs, other.dist.linear))
    if wanted.distance is not None:
        assert p is not None
        direction = torch.randn(policy.theta.shape, generator=generator, dtype=torch.float64)
        move_to_distance(other, policy, direction.to(policy.theta), p, wanted.distance, section)
    return other


def move_to_distance(
    other: Policy, policy: Policy, direction: Any, p: Problem, distance: float, section: str = "behaviour"
) -> None:
    """θ + s·direction with the s > 0 at which the distance is met; the same direction for every distance."""
    low, high = 0.0, 1e-3
    while step_and_measure(other, policy, high * direction, p) < distance:
        low, high = high, 2 * high
        if high > 1e6:
            raise InvalidCommand(
                f"{section}.distance",
                f"{distance:g}",
                "no policy in that direction is so far away",
                "take less",
            )
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if step_and_measure(other, policy, middle * direction, p) < distance
            else (low, middle)
        )


def step_and_measure(other: Policy, policy: Policy, step: Any, p: Problem) -> float:
    other.theta.copy_(policy.theta + step)
    return distance_in_kl(policy, other, p)


def distance_in_kl(policy: Policy, other: Policy, p: Problem) -> float:
    """Mean KL(β‖π) over the states that β visits: what the data are from, compared
    with what they are used for.
    """
    beta, pi = policy_table(other, p), policy_table(policy, p)
    often = state_visits(p, beta).sum(0)
    kl = (beta * (beta / pi).log()).sum(1)
    return float(often @ kl / often.sum())
