"""Does TRPO keep its promise? Every update judged from outside, by code that shares
nothing with the algorithm's.

    python benchmarks/trust_region.py   # algo=trpo env=HalfCheetah-v5, 500 000 steps
    python benchmarks/trust_region.py algo=trpo env=CartPole-v1 trainer.total_steps=100000
    python benchmarks/trust_region.py algo=npg env=HalfCheetah-v5 # no line search: KL goes beyond δ

From copies of θ before and after each update, the mean KL(old‖new) over the update's states and the
surrogate, with ``torch.distributions`` on a forward pass of its own, in float64. Accepted means that θ moved.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from support import build_run, settings_of, train_run
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal, kl_divergence

DEFAULT = ("algo=trpo", "env=HalfCheetah-v5", "trainer.total_steps=500000", "diagnostics.gradient_every=0")


@dataclass(frozen=True)
class Judged:
    accepted: bool
    kl: float  # mean KL(old‖new)
    gain: float  # of the surrogate


def policy_of(theta: Tensor, obs: Tensor, hidden: list[int], outputs: int, gaussian: bool) -> Distribution:
    """π_θ(·|s) for θ = (W₁, b₁, …, log σ) and tanh layers."""
    h, at = obs.double(), 0
    for index, out in enumerate([*hidden, outputs]):
        size = h.shape[1] * out
        weight, bias = theta[at : at + size].view(out, -1), theta[at + size : at + size + out]
        at += size + out
        h = h @ weight.T + bias
        h = h.tanh() if index < len(hidden) else h
    return Independent(Normal(h, theta[at:].exp()), 1) if gaussian else Categorical(logits=h)


def judge(before: Tensor, after: Tensor, batch: Any, hidden: list[int], outputs: int) -> Judged:
    """What one update did to the policy at the rows of ``batch`` with mask 1."""
    rows = batch.mask > 0
    obs, action, psi = batch.obs[rows], batch.action[rows], batch.psi[rows].double()
    gaussian = action.is_floating_point()
    old, new = (policy_of(x.double(), obs, hidden, outputs, gaussian) for x in (before, after))
    action = action.double() if gaussian else action
    ratio = (new.log_prob(action) - old.log_prob(action)).exp()
    gain = float((psi * (ratio - 1)).sum() / batch.count)
    return Judged(not torch.equal(before, after), float(kl_divergence(old, new).mean()), gain)


def updates(*overrides: str) -> tuple[list[Judged], float]:
    """(every update of a run, δ)."""
    settings, actual = settings_of(*overrides), []
    run = build_run(settings)
    improve = run.algorithm.improve

    def watched(batch: Any, learner: Any) -> None:
        before = learner.policy.theta.clone()
        improve(batch, learner)
        outputs = learner.policy.dist.linear
        actual.append(judge(before, learner.policy.theta, batch, settings["network"]["hidden"], outputs))

    run.algorithm.improve = watched
    with tempfile.TemporaryDirectory() as folder:
        summary = train_run(run, Path(folder))
    assert summary["updates"] == len(actual)
    torch.set_grad_enabled(True)
    return actual, settings["algo"]["delta"]


def report(given: list[Judged], delta: float) -> dict[str, float]:
    """Shares and medians over all updates, and over the accepted ones."""
    accepted = [one for one in given if one.accepted]
    return {
        "updates": len(given),
        "accepted": len(accepted) / len(given),
        "kl within delta": sum(one.kl <= delta for one in accepted) / len(accepted),
        "surrogate improved": sum(one.gain > 0 for one in accepted) / len(accepted),
        "largest kl / delta": max(one.kl for one in accepted) / delta,
        "median kl / delta": median(one.kl for one in given) / delta,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="of pgrun's command line")
    overrides = parser.parse_args().overrides or DEFAULT
    for name, value in report(*updates(*overrides)).items():
        print(f"{name:<20}{value:>12.6g}")


if __name__ == "__main__":
    main()
