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

    from pgrun.algorithms.storm_pg import StormPg

ALPHA, STEPS = 0.2, (0.0, 0.3, 1.0, 3.0, 6.0, 10.0)  # steps: ‖θₜ − θₜ₋₁‖
EXPECTED = {
    "‖E d − ∇J − (1 − α)·the error before‖": Expected(0.0, slack=1e-10),
    "the same with weights cut off at 1": Expected(low=1e-3),
    "plain momentum from the right gradient: its bias ÷ ‖∇J‖": Expected(low=0.05),
    "variance ÷ one batch's, θ standing still": Expected(ALPHA**2, slack=1e-9),
    "variance ÷ one batch's, after a step of 1": Expected(high=0.5),
    "variance ÷ one batch's, after a step of 10": Expected(low=1.0),
}


def list_directions(model: LanguageModel, algorithm: StormPg) -> Tensor:
    """d of every episode by itself [N, P], after what the algorithm remembers."""
    from types import SimpleNamespace

    import torch

    from pgrun.algorithms.base import Learner
    from pgrun.algorithms.estimator import Estimator
    from pgrun.critics.base import NoCritic
    from pgrun.variance.none import None_

    directions: list[Tensor] = []
    memory = dict(algorithm.memory)
    for n in range(len(model.every.chance)):
        rollout = model.every.rollout.columns(torch.tensor([n]))
        zero = torch.zeros_like(rollout.obs[..., 0])
        batch = Estimator(None_(), 1.0).batch(rollout, zero, NoCritic(), model.policy)
        optimizer = SimpleNamespace(step=directions.append)
        algorithm.memory = dict(memory)
        algorithm.improve(batch, Learner(model.policy, NoCritic(), optimizer, torch.Generator()))  # type: ignore[arg-type]
    algorithm.memory = memory
    return -torch.stack(directions)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    from dataclasses import replace

    import torch

    from pgrun.algorithms.storm_pg import StormPg
    from pgrun.tools.study.every_episode import list_episodes, mean_and_variance

    before = make_model(1, words=2, length=2, prompts=1, seed=1)
    draw = torch.Generator().manual_seed(0)
    way, wrong = torch.randn(2, len(before.policy.theta), generator=draw, dtype=torch.float64)
    way /= way.norm()

    def moved(step: float) -> LanguageModel:
        policy = before.policy.with_theta(before.policy.theta + step * way)
        return replace(before, policy=policy, every=list_episodes(before.problem, policy))

    def remembering(error: Tensor, truncate: float | None = None) -> StormPg:
        """That had d = ∇J + ``error`` before the step."""
        algorithm = StormPg(alpha=ALPHA, truncate=truncate)
        algorithm.memory = {"direction": before.gradient() + error, "theta": before.policy.theta.clone()}
        return algorithm

    here = moved(0.3)
    chance, slope = here.every.probability, here.gradient()
    handed_on = [
        float((chance @ list_directions(here, remembering(wrong, cut)) - slope - (1 - ALPHA) * wrong).norm())
        for cut in (None, 1.0)
    ]
    momentum = float((1 - ALPHA) * (before.gradient() - slope).norm() / slope.norm())
    shares = []
    for step in STEPS:
        there = moved(step)
        one, recursive = (
            mean_and_variance(there.every.probability, list_directions(there, algorithm))[1]
            for algorithm in (StormPg(), remembering(torch.zeros_like(wrong)))
        )
        shares.append(recursive / one)
    numbers = (*handed_on, momentum, shares[0], shares[2], shares[-1])
    outcomes = {label: Measured(x) for label, x in zip(EXPECTED, numbers, strict=True)}
    right = handed_on[0] < 1e-10 and shares[0] < 1 < shares[-1]
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Lines(
                "Variance of the direction ÷ that of one batch",
                "length of the step since",
                (
                    Series("dₜ, α = 0.2", STEPS, shares),
                    Series("one batch", STEPS, [1.0] * len(STEPS), dashed=True),
                ),
                log_y=True,
            ),
        ),
        Verdict.DEPENDS if right else Verdict.REFUTED,
        f"the error of before comes back times 1 − α, and no other comes in; plain momentum would be off by "
        f"{momentum:.2g} of ∇J. The variance is {shares[0]:.2g} of a batch's where θ stands still, which is "
        f"α², {shares[2]:.2g} after a step of 1 and {shares[-1]:.2g} after one of 10: the importance weights "
        "of a long step bring more noise than the memory saves.",
    )


EXPERIMENT = Experiment(
    name="recursive_momentum",
    group="off_policy",
    row=28,
    claim="The last gradient, corrected by importance weights, takes noise away at no bias.",
    chinese="",
    place="Papini et al. 2018; Yuan et al. 2020 (STORM-PG)",
    formula="dₜ = ĝ(θₜ) + (1 − α)(dₜ₋₁ − ĝ_ω(θₜ₋₁)):   E dₜ − ∇J(θₜ) = (1 − α)(dₜ₋₁ − ∇J(θₜ₋₁)),   "
    "Var dₜ = α²Var ĝ where θₜ = θₜ₋₁",
    commands=(),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="All answers of a tabular language model, one a batch, and the update that trains. The saving "
    "holds for steps that are short in the policy.",
    next="pgrun -m algo=storm_pg algo.alpha=1,0.5,0.2 env=CartPole-v1: weight/ess, direction/cosine.",
    seconds=4,
    fast=True,
)
