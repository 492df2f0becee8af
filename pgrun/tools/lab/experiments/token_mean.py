from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import cosine_similarity, make_model
from pgrun.tools.lab.tables import outcome_rows

SIZE = 2
EXPECTED = {
    "token mean and sequence mean": Expected(0.9852, slack=1e-3),
    "sequence mean and ∇J": Expected(0.9652, slack=1e-3),
    "token mean and ∇J": Expected(0.9915, slack=1e-3),
    "a constant divisor and ∇J": Expected(1.0, slack=1e-9),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    from pgrun.variance.group import Group

    model = make_model(words=2, length=3, prompts=3, rule="answer")
    truth = model.gradient()
    constant, sequence, token = (
        model.mean(Group("rloo", length), SIZE) for length in ("constant", "episode", "batch")
    )
    outcomes = {
        "token mean and sequence mean": Measured(cosine_similarity(token, sequence)),
        "sequence mean and ∇J": Measured(cosine_similarity(sequence, truth)),
        "token mean and ∇J": Measured(cosine_similarity(token, truth)),
        "a constant divisor and ∇J": Measured(cosine_similarity(constant, truth)),
    }
    apart = outcomes["token mean and sequence mean"].value
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars(
                "Cosines of mean gradients", "cosine", [Bar(label, m.value) for label, m in outcomes.items()]
            ),
        ),
        Verdict.REFUTED if apart < 0.999 else Verdict.SUPPORTED,
        f"their mean gradients have a cosine of {apart:.3f}: the mean over answers of means over "
        "tokens weighs a token of a short answer more, the mean over all tokens of a batch weighs all "
        f"alike. Neither is ∇J ({outcomes['sequence mean and ∇J'].value:.3f} and "
        f"{outcomes['token mean and ∇J'].value:.3f}); a constant divisor is.",
    )


EXPERIMENT = Experiment(
    name="token_mean",
    group="language_models",
    row=6,
    claim="The mean over tokens and the mean over answers are the same objective.",
    place="Yu et al. 2025, §3.3; Shao et al. 2024, eq. 3",
    formula="1/N Σᵢ 1/|τᵢ| Σₜ Aᵢ∇log π   against   1/Σᵢ|τᵢ| Σᵢ Σₜ Aᵢ∇log π   against   1/N Σᵢ Σₜ Aᵢ∇log π",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="All pairs of answers. The divisor of the token mean is random, so that it is a ratio of two "
    "estimates; its bias falls with the number of answers in the batch, that of the mean of means does not.",
    next="long_wrong_answers: what the division by an answer's own length does to lengths.",
    seconds=2,
    fast=True,
)
