"""What an update did, measured exactly on the states it learned from."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from pgrun.algorithms.base import Algorithm
from pgrun.config.own_code import require_shape
from pgrun.optimization.schedules import Schedule
from pgrun.policies.continuous import StateStdGaussian
from pgrun.policies.distributions import Gaussian
from pgrun.policies.importance import effective_share
from pgrun.policies.masked import FORBIDDEN
from pgrun.policies.policy import Policy
from pgrun.types import Batch, blank_unless

if TYPE_CHECKING:
    from torch import Tensor


def policy_change(before: Policy, policy: Policy, batch: Batch, algorithm: Algorithm) -> dict[str, Tensor]:
    """‖Δθ‖, and KL both ways, entropy and importance ratios of the new θ over the update's rows.

    Closed forms, no sampling, but for what a distribution calls ``estimated``.

    With a baseline for each parameter the gradient has a part that no row has, and the loss its integral,
    correctionᵀΔθ.
    """
    step = policy.theta - before.theta
    mask, rows = batch.mask, batch.mask.sum().clamp(min=1)
    taken = mask * (batch.log_prob > FORBIDDEN / 2)  # a forbidden action's log π is rounded to multiples of 8
    new, dist = policy.params(batch.obs), policy.dist
    forward = mask * dist.kl(batch.params, new)
    log_prob = dist.log_prob(new, batch.action)
    log_ratio = torch.where(taken > 0, log_prob - batch.log_prob, -torch.inf).double()
    surrogate = algorithm.surrogate(log_prob, algorithm.renew_values(batch, policy))
    require_shape(algorithm.surrogate, surrogate, ())
    linear = 0.0 if batch.correction is None else batch.correction.dot(step)
    scalars = {
        "kl/old_new": forward.sum() / rows,
        "kl/new_old": (mask * dist.kl(new, batch.params)).sum() / rows,
        "kl/max": forward.max(),
        "policy/loss": -surrogate - linear,
        "policy/entropy": (mask * dist.entropy(new)).sum() / rows,
        "step/size": step.norm(),
        "ratio/max": log_ratio.max().exp(),
        "ratio/ess": effective_share(log_ratio, taken.sum().clamp(min=1)),
    }
    if isinstance(dist, StateStdGaussian):
        scalars["policy/std"] = (mask[:, None] * dist.log_std(new).exp()).mean(1).sum() / rows
    if algorithm.has_clip:
        ratio = algorithm.log_ratio(log_prob, batch).exp()
        scalars["ratio/clip_fraction"] = (mask * algorithm.clipped(ratio, batch)).sum() / rows
    return scalars


def step_settings(policy: Policy, algorithm: Algorithm, lr: float) -> dict[str, Tensor]:
    """The learning rate of the update, where an optimizer took it, and other settings that go over the run;
    the mean of σ over the actions' entries, in the policy's own units.
    """
    scalars = {
        tag: torch.tensor(schedule.value, dtype=torch.float64)
        for tag, schedule in scheduled_tags(algorithm).items()
    }
    if not algorithm.takes_own_step:
        scalars["optimizer/lr"] = torch.tensor(lr, dtype=torch.float64)
    if isinstance(policy.dist, Gaussian):
        scalars["policy/std"] = policy.free.exp().mean()
    return scalars


def scheduled_tags(algorithm: Algorithm) -> dict[str, Schedule]:
    """The algorithm's own settings that are not constant, by the tag of their value."""
    return {f"algo/{name}": x for name, x in algorithm.schedules.items() if x.kind != "constant"}


def value_fit(batch: Batch, loss: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """The loss of the critic as it is now; the mean of V before the update, and its explained variance
    1 − Var(target − V)/Var(target). In units of the raw reward: ``scale`` [] = raw ÷ scaled, in float64.
    """
    mask, rows = batch.mask, batch.mask.sum().clamp(min=1)

    def variance(x: Tensor) -> Tensor:
        x = x.double()  # of equal targets 0, and not a rounding error
        mean = (mask * x).sum() / rows
        return (mask * (x - mean).square()).sum() / rows

    whole, unexplained = variance(batch.target), variance(batch.target - batch.value)
    return {
        "value/loss": loss * scale.square().to(loss.dtype),
        "value/mean": scale.to(mask.dtype) * (mask * batch.value).sum() / rows,
        "value/explained_variance": blank_unless(whole != 0, 1 - unexplained / whole),  # equal targets: none
    }


def fetch_floats(scalars: dict[str, Tensor]) -> dict[str, float]:
    """Numbers, those on a device fetched from it at once; blank ones have none (``blank_unless``)."""
    numbers = {k: v.item() for k, v in scalars.items() if v.device.type == "cpu" and v.numel() == 1}
    others = {k: v for k, v in scalars.items() if k not in numbers and v.numel()}
    for on_host in (True, False):
        there = {k: v for k, v in others.items() if (v.device.type == "cpu") == on_host}
        if there:
            sizes = [v.numel() for v in there.values()]
            flat = torch.cat([v.double().flatten() for v in there.values()]).tolist()
            ends = accumulate(sizes)
            numbers |= {
                k: flat[end - n]
                for k, n, end in zip(there, sizes, ends, strict=True)
                if flat[end - 1] or n == 1
            }
    return {k: numbers[k] for k in scalars if k in numbers}
