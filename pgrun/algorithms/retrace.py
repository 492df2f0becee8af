"""Retrace(λ): advantages and targets of a fitted Q from another policy's episodes (Munos et al. 2016, eq. 3).

Qʳ(sₜ, aₜ) = Q(sₜ, aₜ) + xₜ,   xₜ = δₜ + γλ min(c̄, ρₜ₊₁)xₜ₊₁,   δₜ = rₜ + γV(sₜ₊₁) − Q(sₜ, aₜ),
V(s) = Σ_a π(a|s)Q(s, a)   of the present policy
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgrun.algorithms.base import Learner
from pgrun.critics.fitted_q import FittedQCritic
from pgrun.errors import Mistake
from pgrun.policies.policy import Policy
from pgrun.returns import retrace_errors
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor


def record_action_values(rollout: Rollout, learner: Learner) -> Rollout:
    """The rollout with Q of every action, here and one step on, in ``extra``, and what V is made of there."""
    critic = learner.critic
    assert isinstance(critic, FittedQCritic)
    every = critic.every(rollout.obs)
    own = {
        "reward": rollout.reward,
        "goes_on": 1 - rollout.terminated,
        "obs_after": rollout.obs[1:],
        "every_q": every[:-1],
        "every_q_after": every[1:],
    }
    state_values = {"v": rollout.reward, "v_after": rollout.reward}  # until ``renew_state_values``
    return replace(rollout, extra={**rollout.extra, **own, **state_values})


def renew_state_values(policy: Policy, batch: Batch) -> Batch:
    """The batch with V(s) and V(s') of the policy as it is now [B]."""
    known = batch.extra
    own = {
        "v": (policy.params(batch.obs).softmax(-1) * known["every_q"]).sum(-1),
        "v_after": (policy.params(known["obs_after"]).softmax(-1) * known["every_q_after"]).sum(-1),
    }
    return replace(batch, extra={**known, **own})


def correct_action_values(ratio: Tensor, batch: Batch, lam: float, c_bar: float) -> tuple[Tensor, Tensor]:
    """(Qʳ − V, Qʳ) [T, N] from ρ [T, N] and a batch whose V is that of the policy in ρ."""
    columns = {name: x.view(*batch.shape, *x.shape[1:]) for name, x in batch.extra.items()}
    q = columns["every_q"].gather(-1, batch.action.view(*batch.shape, 1))[..., 0]
    target = columns["reward"] + batch.gamma * columns["goes_on"] * columns["v_after"]
    delta = batch.mask.view(batch.shape) * (target - q)
    corrected = q + retrace_errors(delta, ratio, batch.gamma, lam, c_bar)
    return corrected - columns["v"], corrected


def find_no_action_values(settings: Any) -> Iterator[Mistake]:
    """What Retrace needs beside its name: a Q of every action, and Ψ = Q − V as it is."""
    variance, algo = settings["variance"], settings["algo"]
    if variance["name"] != "advantage" or settings["critic"]["name"] != "fitted_q":
        yield retrace_mistake("corrects Q − V of a fitted Q", "add variance=advantage critic=fitted_q")
    elif variance["discounting"] != "reward_to_go":
        yield retrace_mistake("takes no factor γ^t", "add variance.discounting=reward_to_go")
    if settings["advantage_norm"] != "none":
        yield retrace_mistake("fits Q to the same corrections", "add advantage_norm=none")
    if algo["truncate"] is not None or algo["self_normalise"]:
        yield retrace_mistake(
            "has caps of its own",
            "take algo.rho_bar and algo.c_bar, and leave algo.truncate and algo.self_normalise out",
        )


def retrace_mistake(reason: str, remedy: str) -> Mistake:
    """What ``algo.weights=retrace`` does not go with."""
    return Mistake("algo.weights", "retrace", reason, remedy)
