from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult, only_result
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows

EXPECTED = {
    "E k3 − KL(π‖ρ)": Expected(0.0, slack=1e-6),
    "loss k3: off ∇KL(π‖ρ)": Expected(0.1288, slack=1e-3),
    "loss k3: off ∇KL(ρ‖π)": Expected(0.0, slack=1e-6),
    "loss k2: off ∇KL(π‖ρ)": Expected(0.0, slack=1e-6),
    "loss k1: off ∇KL(π‖ρ)": Expected(1.0, slack=1e-6),
    "reward k1: off ∇KL(π‖ρ)": Expected(0.0, slack=1e-6),
    "reward k3: off ∇KL(π‖ρ)": Expected(0.9491, slack=1e-3),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    part = only_result(commands[0]).result["kl"]
    estimators = part["estimators"]

    def off(place: str, name: str) -> Measured:
        return Measured(estimators[name][f"{place}_gradient_bias"] / part[f"{place}_gradient_norm"])

    other = estimators["k3"]["loss_off_other_kl"] / part["other_kl_gradient_norm"]
    outcomes = {
        "E k3 − KL(π‖ρ)": Measured(estimators["k3"]["value_bias"]),
        "loss k3: off ∇KL(π‖ρ)": off("loss", "k3"),
        "loss k3: off ∇KL(ρ‖π)": Measured(other),
        "loss k2: off ∇KL(π‖ρ)": off("loss", "k2"),
        "loss k1: off ∇KL(π‖ρ)": off("loss", "k1"),
        "reward k1: off ∇KL(π‖ρ)": off("reward", "k1"),
        "reward k3: off ∇KL(π‖ρ)": off("reward", "k3"),
    }
    wrong = outcomes["loss k3: off ∇KL(π‖ρ)"].value
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars(
                "‖E − ∇KL(π‖ρ)‖ ÷ ‖∇KL‖",
                "share of the gradient",
                [Bar(label, m.value) for label, m in list(outcomes.items())[1:]],
            ),
        ),
        Verdict.REFUTED if wrong > 0.01 else Verdict.SUPPORTED,
        "k3 has the KL as its mean, and its derivative in the loss is off the KL's gradient by "
        f"{100 * wrong:.0f} % of that: it is the gradient of KL(ρ‖π), exactly. k2, whose value is biased, "
        "has the right gradient there, k1 none at all; paid as a reward k1 is right.",
    )


EXPERIMENT = Experiment(
    name="kl_as_loss",
    group="language_models",
    row=4,
    claim="k3 = ρ/π − 1 − log(ρ/π) is an unbiased, low-variance KL, and so the penalty to put into the loss.",
    place="Schulman 2020; Shao et al. 2024, eq. 4",
    formula="E ∇k1 = 0,   E ∇k2 = E[l ∇log π] = ∇KL(π‖ρ),   E ∇k3 = E[(1 − e⁻ˡ)∇log π] = ∇KL(ρ‖π)",
    commands=(
        "pgrun-study env=pgrun/TokenTree-v0 gamma=1 policy.ascent=0.5 kl.distance=0.1 critic=none "
        "'schemes=[none]' episodes=400",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="π has climbed half of the way, ρ is another policy at a mean KL of 0.1; every answer is summed "
    "over, so that nothing here is sampled. The two KLs have the same second order: near ρ the mistake is "
    "small.",
    next="kl.distance=0.001 and 1, and the variances: part kl of study.json has all of them.",
    seconds=3,
    fast=True,
)
