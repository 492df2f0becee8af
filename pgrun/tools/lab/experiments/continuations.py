from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult, only_result
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows

COUNTS = (1, 4, 16)
EXPECTED = {
    "bias along ∇J, K = 1, ÷ its se": Expected(low=-4.0, high=4.0),
    "excess variance, K = 1 ÷ K = 4": Expected(4.0),
    "excess variance, K = 4 ÷ K = 16": Expected(4.0),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    known = only_result(commands[0]).result["schemes"]["value_baseline"]
    entries = [job.result["schemes"]["value_baseline"] for job in commands[1]]
    excess = [
        Measured(
            e["variance"] - known["variance"], (e["variance_se"] ** 2 + known["variance_se"] ** 2) ** 0.5
        )
        for e in entries
    ]
    numbers = (Measured(entries[0]["bias_z"]), *map(divide_measured, excess, excess[1:]))
    outcomes = dict(zip(EXPECTED, numbers, strict=True))
    unbiased = abs(entries[0]["bias_z"]) < 4
    noise = [e["variance"] for e in entries]
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Lines(
                "Variance of the gradient",
                "K, continuations from each state",
                (
                    Series("V̂ of K continuations", COUNTS, noise, [e["variance_se"] for e in entries]),
                    Series("the exact V", COUNTS, [known["variance"]] * len(COUNTS), dashed=True),
                ),
                log_x=True,
            ),
        ),
        Verdict.SUPPORTED if unbiased and noise == sorted(noise, reverse=True) else Verdict.REFUTED,
        f"one continuation makes the variance {noise[0] / known['variance']:.2f} times that of the exact V, "
        f"four {noise[1] / known['variance']:.2f} and sixteen {noise[2] / known['variance']:.2f}, "
        "without a bias: what V̂ adds goes like 1/K.",
    )


def divide_measured(first: Measured, second: Measured) -> Measured:
    """Their ratio, with the standard error of a quotient."""
    ratio = first.value / second.value
    return Measured(ratio, ratio * ((first.se / first.value) ** 2 + (second.se / second.value) ** 2) ** 0.5)


STUDY = (
    "env=pgrun/TokenTree-v0 env.kwargs.noise=0.5 gamma=1 policy.ascent=0.5 "
    "'schemes=[value_baseline]' episodes=40000 batch=4"
)
EXPERIMENT = Experiment(
    name="continuations",
    group="critics",
    row=20,
    claim="Values by playing on from the visited states bias nothing, and more of them are less noise.",
    place="Schulman et al. 2015, §5.2; Kazemnejad et al. 2024",
    formula="V̂(s) = 1/K Σ_k G⁽ᵏ⁾(s),   Var ĝ = Var ĝ(V) + c/K",
    commands=(
        f"pgrun-study critic=exact {STUDY}",
        f"pgrun-study -m critic=vine critic.continuations=1,4,16 {STUDY}",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="The same policy on the same problem, once with the exact V. Each V̂ is drawn after the visit and "
    "knows nothing of what followed it: given the states, it is independent of the actions.",
    next="schemes=[td0,all_actions]: V̂ instead of the return, and each action tried.",
    seconds=60,
)
