"""NaN and infinity in what an update computed: the run stops in that update, before
anything of it is logged or saved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.config.own_classes import locate_method
from pgrun.errors import Diverged
from pgrun.policies.continuous import StateStdGaussian
from pgrun.policies.distributions import Gaussian
from pgrun.training.unread_check import UnreadCheck

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.training.build import Run
    from pgrun.training.counters import Counters
    from pgrun.types import Batch, Rollout
    from pgrun.variance.base import Scheme

LARGE_RETURN = 1e17  # squares of such returns, added up over a batch, pass what float32 holds: 3e38
LARGE_INPUT = 1e15  # of a network: products with its weights and gradients do
LARGE_LOG_STD = 40.0  # σ² and 1/σ² = e^80 = 6e34 are among the last that float32 holds
LOSSES = ("policy/loss", "value/loss", "gradient/norm", "kl/old_new", "step/cg_residual")


@contextmanager
def guarded_update(run: Run, rollout: Rollout, batch: Batch, counters: Counters) -> Iterator[None]:
    """Around an update: what goes in, and what comes out. Raises ``Diverged``.

    On a device it only notes what ``read_check`` is to read: looking at once would wait for the device in
    the middle of its work.
    """
    on_host = run.policy.theta.device.type == "cpu"
    if on_host and not is_finite(batch.psi):
        raise make_diverged(counters, describe_first_nonfinite(run, rollout, batch, counters))
    try:
        yield
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise make_diverged(counters, f"{error}: {advise_remedy(run, rollout, counters, False)}") from error
    if not on_host:
        watched = (batch.psi, *named_parameters(run).values())
        finite = torch.stack([torch.isfinite(x).all() for x in watched]).all()
        run.unread = UnreadCheck(finite, rollout, batch, copy(counters))
    elif not all(is_finite(x) for x in named_parameters(run).values()):
        raise make_diverged(counters, describe_first_nonfinite(run, rollout, batch, counters))


def read_check(run: Run) -> None:
    """Look at what the last update left to be read, before anything is logged, saved or acted on.

    Raises ``Diverged``.
    """
    unread, run.unread = run.unread, None
    if unread is not None and not bool(unread.finite):
        counters = unread.counters
        raise make_diverged(counters, describe_first_nonfinite(run, unread.rollout, unread.batch, counters))


def watch_losses(run: Run, rollout: Rollout, scalars: Mapping[str, float], counters: Counters) -> None:
    """Check the losses of a row that is to be logged. Raises ``Diverged``."""
    for name in LOSSES:
        if not math.isfinite(scalars.get(name, 0.0)):
            critic = name.startswith("value") and not run.policy.value_outputs
            raise make_diverged(
                counters, f"{name} is {scalars[name]}: {advise_remedy(run, rollout, counters, critic)}"
            )


def watch_state(state: Any, counters: Counters, path: str = "") -> None:
    """What is about to be saved, nested. Raises ``Diverged``."""
    if isinstance(state, Mapping):
        for name, part in state.items():
            watch_state(part, counters, f"{path}/{name}".lstrip("/"))
    elif isinstance(state, list | tuple):
        for i, part in enumerate(state):
            watch_state(part, counters, f"{path}/{i}")
    elif isinstance(state, np.ndarray):
        watch_state(torch.from_numpy(np.asarray(state)), counters, path)
    elif isinstance(state, torch.Tensor) and state.is_floating_point() and not is_finite(state):
        raise make_diverged(counters, f"{count_nonfinite(state, path)}: nothing is saved of this update")


def is_finite(x: Tensor) -> bool:
    """Whether every entry is. On the CPU the sum tells in a tenth of the time: NaN and infinity stay in it.

    A sum may be infinite though no entry is: then each is looked at.
    """
    if x.device.type != "cpu":
        return bool(torch.isfinite(x).all())
    return math.isfinite(x.sum().item()) or bool(torch.isfinite(x).all())


def named_parameters(run: Run) -> dict[str, Tensor]:
    phi = getattr(run.learner.critic, "phi", None)
    parameters = {"the policy's parameters θ": run.policy.theta}
    return parameters if phi is None else parameters | {"the critic's parameters φ": phi}


def describe_first_nonfinite(run: Run, rollout: Rollout, batch: Batch, counters: Counters) -> str:
    """The first tensor that is not finite, in the order in which they were computed, and what to try."""
    data = {
        "the normalised observations": rollout.obs,
        "the scaled rewards": rollout.reward,
        "log π(a|s)": rollout.log_prob,
        "the critic's values V(s)": batch.value,
        "the critic's targets": batch.for_critic.target,
        "the weights Ψ": batch.psi,
    }
    has_critic = "the critic's parameters φ" in named_parameters(run)
    for name, x in data.items():
        if not is_finite(x):
            if name == "the weights Ψ" and (place := locate_own_psi(run.estimator.scheme)):
                advice = describe_large_rewards(run, rollout, counters) or (
                    "what it was given is finite: look there for a division by 0, a log or a root"
                )
                return f"{count_nonfinite(x, f'the weights Ψ of {place}')}: {advice}"
            critic = has_critic and name != "log π(a|s)"
            return f"{count_nonfinite(x, name)}: {advise_remedy(run, rollout, counters, critic)}"
    state = run.learner.optimizer.state_dict()
    moments = {f"the gradient of θ (the optimizer's moment {name})": x for name, x in state.items()}
    for name, x in (moments | named_parameters(run)).items():
        if not is_finite(x):
            return f"{count_nonfinite(x, name)}: {advise_remedy(run, rollout, counters, 'critic' in name)}"
    raise AssertionError("all of them are finite")


def locate_own_psi(scheme: Scheme) -> str | None:
    """``odd.py, line 12: Odd.psi``, of a scheme of the user's own; None for pgrun's."""
    cls = type(scheme)
    writer = cls.estimate if scheme.sees_scores else cls.psi
    return None if writer.__module__.startswith("pgrun.") else locate_method(writer)


def count_nonfinite(x: Tensor, name: str) -> str:
    bad = ~torch.isfinite(x.flatten())
    kinds = sorted({str(value) for value in x.flatten()[bad][:1000].tolist()})
    return f"{name}: {' and '.join(kinds)} in {int(bad.sum())} of {bad.numel()} entries"


def advise_remedy(run: Run, rollout: Rollout, counters: Counters, critic: bool) -> str:
    """What to do, by what is too large for float32 among what went in; where nothing is, the steps were."""
    return (
        describe_large_rewards(run, rollout, counters)
        or describe_large_price(run, rollout)
        or describe_extreme_sigma(run, rollout)
        or describe_large_observations(rollout)
        or smaller_steps(run, critic)
    )


def describe_large_rewards(run: Run, rollout: Rollout, counters: Counters) -> str | None:
    """Scaling by statistics comes too late for the first update, whose rewards are as
    the environment gives them.
    """
    largest = largest_entry(rollout.reward)
    if largest * count_return_steps(run, rollout) < LARGE_RETURN:
        return None
    later = counters.updates > 1 and not run.top.reward_scaling
    return (
        f"the rewards reach {largest:.0e}, and squares of returns pass what float32 holds: divide them in "
        "the environment, gymnasium.wrappers.TransformReward "
        f"does{', or take reward_scaling=true' if later else ''}"
    )


def describe_large_price(run: Run, rollout: Rollout) -> str | None:
    """Of the distance from a reference policy, which is charged as a reward is."""
    reference = run.learner.reference
    if reference is None or reference.settings.beta * count_return_steps(run, rollout) < LARGE_RETURN:
        return None
    return (
        f"reference.beta={reference.settings.beta:g} times a KL is charged in every step, and squares of "
        "returns pass what float32 holds: take a smaller reference.beta"
    )


def count_return_steps(run: Run, rollout: Rollout) -> float:
    """Steps that a return adds up."""
    return max(len(rollout.reward), 1 / max(1 - run.top.gamma, 1e-4))


def describe_extreme_sigma(run: Run, rollout: Rollout) -> str | None:
    dist = run.policy.dist
    if not isinstance(dist, Gaussian | StateStdGaussian):
        return None
    log_std = (
        rollout.params[..., -dist.free :] if isinstance(dist, Gaussian) else dist.log_std(rollout.params)
    )
    if largest_entry(log_std) <= LARGE_LOG_STD:
        return None
    farthest = float(log_std.flatten()[log_std.abs().flatten().nan_to_num(-1).argmax()])
    remedy = smaller_steps(run, False).removeprefix("take ")
    return (
        f"the policy's log σ is {farthest:.0f}, and float32 holds σ² for ±{LARGE_LOG_STD:.0f}: "
        f"take a network.log_std nearer to 0, or {remedy}"
    )


def describe_large_observations(rollout: Rollout) -> str | None:
    """Advice where observations are large; those that are normalised lie within ±10."""
    largest = largest_entry(rollout.obs)
    if largest < LARGE_INPUT:
        return None
    return f"the observations reach {largest:.0e}: take state_norm=true, or scale them in the environment"


def largest_entry(x: Tensor) -> float:
    """The largest |entry|; NaN counts for nothing, and infinity for the largest float32."""
    return float(x.abs().nan_to_num(0.0).max())


def smaller_steps(run: Run, critic: bool) -> str:
    """What to type."""
    return "take " + " or ".join(list_remedies(run, critic))


def list_remedies(run: Run, critic: bool) -> Iterator[str]:
    group = "critic.optimizer" if critic and not run.policy.value_outputs else "optimizer"
    if group == "optimizer" and run.algorithm.takes_own_step:
        sizes = ("alpha",) if getattr(run.algorithm, "step", "") == "fixed" else ("delta", "radius")
        yield from (f"a smaller algo.{name}" for name in sizes if hasattr(run.algorithm, name))
        return
    yield f"a smaller {group}.lr"
    settings = run.settings["critic"]["optimizer"] if critic else run.settings["optimizer"]
    if settings and settings.get("max_grad_norm") is None:
        yield f"{group}.max_grad_norm=0.5"


def make_diverged(counters: Counters, what: str) -> Diverged:
    return Diverged(f"update {counters.updates}, environment step {counters.env_steps}: {what}")
