from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import LanguageModel, make_model
from pgrun.tools.lab.tables import outcome_rows

if TYPE_CHECKING:
    from torch import Tensor

LENGTHS: dict[str, Literal["constant", "episode", "batch"]] = {
    "a constant": "constant",
    "the mean length of the batch": "batch",
    "each answer's own length": "episode",
}
EXPECTED = {
    "wrong answers, ÷ a constant": Expected(0.1455, slack=1e-3),
    "wrong answers, ÷ the mean length of the batch": Expected(0.1948, slack=1e-3),
    "wrong answers, ÷ each answer's own length": Expected(0.2951, slack=1e-3),
    "along ∇J itself": Expected(0.1455, slack=1e-3),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    from pgrun.variance.group import Group

    model = make_model(3, words=2, length=3, rule="answer")
    outcomes = {
        f"wrong answers, ÷ {what}": Measured(
            growth_of_wrong_answers(model, model.mean(Group("dr_grpo", length), 2))
        )
        for what, length in LENGTHS.items()
    }
    outcomes["along ∇J itself"] = Measured(growth_of_wrong_answers(model, model.gradient()))
    own, right = (
        outcomes["wrong answers, ÷ each answer's own length"].value,
        outcomes["along ∇J itself"].value,
    )
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars(
                "How fast wrong answers grow along E ĝ",
                "d/ds of their mean length",
                [Bar(label, m.value) for label, m in outcomes.items()],
            ),
        ),
        Verdict.SUPPORTED if own > 1.2 * right else Verdict.REFUTED,
        f"a step along the mean gradient makes wrong answers longer at a rate of {own:.3f} tokens where each "
        f"answer's sum is divided by its own length, and of {right:.3f} along ∇J: what a wrong answer is "
        "pushed down by is spread over its tokens, so that long ones are pushed down less.",
    )


def growth_of_wrong_answers(model: LanguageModel, direction: Tensor) -> float:
    """d/ds E[|τ| | wrong] along ``direction`` of length 1: Σ p(τ)(|τ| − mean)·∇log p(τ)ᵀd over wrong ones."""
    rollout, columns = model.every.rollout, len(model.every.chance)
    obs, action = (x.transpose(0, 1).flatten(0, 1) for x in (rollout.obs[:-1], rollout.action))
    scores = model.policy.scores(obs, action).sums(rollout.mask.T.flatten(), columns)  # ∇log p [N, P]
    weight = model.every.probability * (model.returns < 0.5)
    weight = weight / weight.sum()
    off = model.every.lengths - weight @ model.every.lengths
    return float((weight * off) @ (scores @ (direction / direction.norm())))


EXPERIMENT = Experiment(
    name="long_wrong_answers",
    group="language_models",
    row=3,
    claim="Dividing each answer's sum by its own length favours long wrong answers.",
    place="Liu et al. 2025, §3.1",
    formula="ĝ = 1/N Σᵢ Aᵢ/|τᵢ| Σₜ ∇log π(aₜ|sₜ);   d/ds E[|τ| | wrong] along E ĝ",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="An answer is right where its last word is the right one, however long it is. The gradient of J "
    "makes wrong answers longer too, here: one more word may still be the right one. Dividing by the length "
    "adds to that.",
    next="pgrun -m algo=reinforce variance=group variance.length=constant,episode env=pgrun/TokenTree-v0 "
    "env.kwargs.rule=answer env.kwargs.length=6, and episode/length.",
    seconds=2,
    fast=True,
)
