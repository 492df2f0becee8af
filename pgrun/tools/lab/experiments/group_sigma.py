from __future__ import annotations

import math
from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars, Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import cosine_similarity, make_model
from pgrun.tools.lab.tables import outcome_rows

SIZE = 4  # answers of a group
EXPECTED = {
    "cosine with ∇J, not divided": Expected(1.0, slack=1e-9),
    "cosine with ∇J, divided by σ": Expected(0.8591, slack=1e-3),
    "right or wrong: furthest from f(p)∇J": Expected(0.0, slack=1e-6),
    "f at p = 0.05 ÷ f at p = 0.5": Expected(1.0582, slack=1e-4),
    "the same with 64 answers": Expected(2.1855, slack=1e-4),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    from pgrun.variance.group import Group

    graded = make_model(words=2, length=3, prompts=2, seed=1)
    truth = graded.gradient()
    plain, divided = (
        cosine_similarity(graded.mean(Group(kind), SIZE), truth) for kind in ("dr_grpo", "grpo")
    )
    outcomes = {
        "cosine with ∇J, not divided": Measured(plain),
        "cosine with ∇J, divided by σ": Measured(divided),
        "right or wrong: furthest from f(p)∇J": Measured(distance_from_closed_form()),
        "f at p = 0.05 ÷ f at p = 0.5": Measured(sigma_factor(0.05, SIZE) / sigma_factor(0.5, SIZE)),
        "the same with 64 answers": Measured(sigma_factor(0.05, 64) / sigma_factor(0.5, 64)),
    }
    chances = [0.02 * k for k in range(1, 50)]
    curve = Series(f"σ of {SIZE} answers", chances, [sigma_factor(p, SIZE) for p in chances], bare=True)
    many = Series("σ of 64 answers", chances, [sigma_factor(p, 64) for p in chances], bare=True)
    limit = Series("1/√(p(1 − p))", chances, [(p * (1 - p)) ** -0.5 for p in chances], dashed=True)
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars(
                "Cosine of E ĝ with ∇J, graded answers",
                "cosine",
                [Bar("minus the mean", plain, exact=1.0), Bar("and ÷ σ", divided)],
            ),
            Lines(
                "Weight of a prompt, right or wrong answers",
                "p, the chance of a right one",
                (curve, many, limit),
            ),
        ),
        Verdict.REFUTED if divided < 0.99 else Verdict.SUPPORTED,
        f"with graded answers the mean gradient has a cosine of {divided:.3f} with ∇J, and of {plain:.3f} "
        "without the division. Where answers are right or wrong, each prompt's gradient is right up to a "
        "factor f(p), larger for prompts that are nearly solved or nearly hopeless: at p = 0.05 it is "
        f"{sigma_factor(0.05, SIZE) / sigma_factor(0.5, SIZE):.2f} times that at p = 0.5, and "
        f"{sigma_factor(0.05, 64) / sigma_factor(0.5, 64):.2f} times with groups of 64.",
    )


def sigma_factor(p: float, size: int) -> float:
    """f(p) in E ĝ = f(p)∇p of a prompt with chance p of a right answer: k right answers of K give
    √(k(K−k)(K−1)/K³)/(p(1−p)).
    """
    total = 0.0
    for k in range(size + 1):
        chance = math.comb(size, k) * p**k * (1 - p) ** (size - k)
        total += chance * math.sqrt(k * (size - k) * (size - 1) / size**3)
    return total / (p * (1 - p))


def distance_from_closed_form() -> float:
    """The largest entry of E ĝ less f(p)∇J, prompt by prompt, over all groups of right or wrong answers."""
    from pgrun.variance.group import Group

    marked = make_model(words=2, length=2, prompts=3, rule="answer")
    truth, estimate = marked.gradient(), marked.mean(Group("grpo"), SIZE)
    states = len(marked.problem.start)
    worst, tree = 0.0, states // 3
    for prompt in range(3):
        mine = (marked.every.start == prompt * tree).double()
        p = float((mine * marked.every.chance) @ marked.returns)
        rows = slice(prompt * tree, (prompt + 1) * tree)
        off = estimate.view(-1, states)[:, rows] - sigma_factor(p, SIZE) * truth.view(-1, states)[:, rows]
        worst = max(worst, float(off.abs().max()))
    return worst


EXPERIMENT = Experiment(
    name="group_sigma",
    group="language_models",
    row=2,
    claim="Dividing a group's advantages by their σ only rescales the gradient.",
    place="Shao et al. 2024, §4.1; Liu et al. 2025, §3.1",
    formula="Ψ = (R − mean)/σ;   right or wrong answers: E ĝ = f(p)∇p,   f(p) → 1/√(p(1 − p)) for many",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="All groups of four answers of a tabular language model, with their chances: means are sums. A "
    "group whose answers are nearly alike has a small σ, so that little differences count as much as large "
    "ones.",
    next="pgrun-study env=pgrun/TokenTree-v0 gamma=1 critic=none group=4 batch=4 "
    "'schemes=[group,{group:{kind:grpo}},{group:{kind:dr_grpo}}]', the same from samples.",
    seconds=3,
    fast=True,
)
