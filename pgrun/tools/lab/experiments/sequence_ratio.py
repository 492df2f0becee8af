from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import LanguageModel, make_model
from pgrun.tools.lab.tables import outcome_rows

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.policies.policy import Policy

STEPS = (0.0, 0.25, 0.5, 1.0)  # of θ, in a random direction
FREE = 1e6  # a clip that nothing meets
EXPECTED = {
    "at θ_old: tokens, off ∇J": Expected(0.0, slack=1e-9),
    "at θ_old: sequence, off ∇J": Expected(0.0, slack=1e-9),
    "after a step: tokens, off ∇J": Expected(0.1275, slack=1e-3),
    "after a step: sequence, off ∇J": Expected(0.3049, slack=1e-3),
    "after a step: the product of all ratios, off ∇J": Expected(0.0, slack=1e-9),
    "after a step: sequence, off tokens": Expected(0.3139, slack=1e-3),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import torch

    model = make_model(words=2, length=3, prompts=2, seed=1)
    rng = torch.Generator().manual_seed(1)
    direction = torch.randn(len(model.policy.theta), generator=rng, dtype=torch.float64)
    offs = [compare_ratios(model, step * direction / direction.norm()) for step in STEPS]
    start, after = offs[0], offs[-1]
    outcomes = {
        "at θ_old: tokens, off ∇J": Measured(start["tokens"]),
        "at θ_old: sequence, off ∇J": Measured(start["sequence"]),
        "after a step: tokens, off ∇J": Measured(after["tokens"]),
        "after a step: sequence, off ∇J": Measured(after["sequence"]),
        "after a step: the product of all ratios, off ∇J": Measured(after["product"]),
        "after a step: sequence, off tokens": Measured(after["apart"]),
    }
    series = [Series(name, STEPS, [o[name] for o in offs]) for name in ("tokens", "sequence", "product")]
    same = max(start["tokens"], start["sequence"]) < 1e-9 < after["apart"]
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (Lines("‖E gradient − ∇J‖ ÷ ‖∇J‖", "‖θ − θ_old‖", series),),
        Verdict.DEPENDS if same else Verdict.REFUTED,
        "at θ_old both are ∇J. After a step of length 1 the surrogate with ratios of tokens is off the "
        f"gradient by {100 * after['tokens']:.0f} %, that with one ratio for the sequence by "
        f"{100 * after['sequence']:.0f} %, and they are {100 * after['apart']:.0f} % apart: neither is the "
        "importance weight of an answer, which is the product of all its ratios.",
    )


def compare_ratios(model: LanguageModel, step: Tensor) -> dict[str, float]:
    """Mean gradients at θ_old + step from answers of π_old, relative to ∇J there: how far off each is."""
    from pgrun.algorithms.ppo import Ppo
    from pgrun.exact import gradient

    policy = model.policy.with_theta(model.policy.theta + step)
    truth = gradient(policy, model.problem, 1.0)
    tokens, sequence = (
        mean_gradient(model, policy, Ppo(ratio=ratio, clip=FREE)) for ratio in ("token", "sequence")
    )
    product = mean_gradient(model, policy, None)
    size = truth.norm()
    return {
        "tokens": float((tokens - truth).norm() / size),
        "sequence": float((sequence - truth).norm() / size),
        "product": float((product - truth).norm() / size),
        "apart": float((sequence - tokens).norm() / size),
    }


def mean_gradient(model: LanguageModel, policy: Policy, algorithm: object) -> Tensor:
    """E of the algorithm's gradient with Ψ = R; without one, of importance weights of whole answers."""
    from dataclasses import replace

    import torch

    from pgrun.algorithms.estimator import Estimator
    from pgrun.algorithms.off_policy_pg import OffPolicyPg
    from pgrun.algorithms.ppo import Ppo
    from pgrun.critics.base import NoCritic
    from pgrun.variance.none import None_

    rollout = model.every.rollout
    column = torch.arange(rollout.mask.shape[1]).expand_as(rollout.mask)
    rollout = replace(rollout, extra={"episode": column})
    value = torch.zeros_like(rollout.obs[..., 0])
    batch = Estimator(None_(), 1.0).batch(rollout, value, NoCritic(), model.policy)
    batch = replace(batch, psi=batch.psi * model.every.probability[column.flatten()], count=1.0)
    log_prob = policy.dist.log_prob(policy.params(batch.obs), batch.action)
    chosen = algorithm if isinstance(algorithm, Ppo) else OffPolicyPg(weights="trajectory")
    with torch.enable_grad():
        weight = chosen.gradient_weight(log_prob, batch)
    return policy.scores(batch.obs, batch.action).sums(weight, 1)[0]


EXPERIMENT = Experiment(
    name="sequence_ratio",
    group="language_models",
    row=5,
    claim="One ratio for a whole answer and a ratio for each of its tokens are the same surrogate.",
    place="Zheng et al. 2025, §4",
    formula="s = (π_θ(y|x)/π_old(y|x))^(1/|y|) = exp(1/|y| Σₜ log ρₜ);   ∇s = s/|y| Σₜ ∇log π",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="The mean over all answers of the gradient that ppo takes, unclipped, with Ψ the answer's return.",
    next="pgrun -m algo=ppo algo.ratio=token,sequence sampler=episodes variance=group env=pgrun/TokenTree-v0",
    seconds=2,
    fast=True,
)
