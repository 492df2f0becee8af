from __future__ import annotations

import math
from collections.abc import Sequence

from pgrun.presentation.panels import Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import episode_variance

BATCH = 5
LOG_STDS = (-2.0, -1.0, 0.0)
VARIANCES = {
    -2.0: (0.08123, 841.4),
    -1.0: (0.6878, 141.6),
    0.0: (12.001, 148.0),
}  # pathwise, score; k = ±0.01
EXPECTED = {
    f"σ = {math.exp(log_std):.3g}: {name}": Expected(variance, slack=5e-4 * variance)
    for log_std, pair in VARIANCES.items()
    for name, variance in zip(("pathwise", "score"), pair, strict=True)
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    outcomes: dict[str, Measured] = {}
    for job in commands[0]:
        sigma = math.exp(float(job.words["network.log_std"]))
        for name, scheme in (("pathwise", "pathwise"), ("score", "reward_to_go")):
            outcomes[f"σ = {sigma:.3g}: {name}"] = episode_variance(job.result["schemes"][scheme], BATCH)
    pairs = [(outcomes[label], outcomes[label.replace("pathwise", "score")]) for label in list(outcomes)[::2]]
    lower = all(one.value + 4 * one.se < other.value - 4 * other.se for one, other in pairs)
    ratios = [other.value / one.value for one, other in pairs]
    panels: tuple[Bars, ...] = (
        outcome_bars("Variance of one episode", "of ∇J", outcomes, EXPECTED, list(EXPECTED), log=True),
    )
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "variance of one episode's gradient"),
        panels,
        Verdict.SUPPORTED if lower else Verdict.REFUTED,
        f"on one step of LQ1 the score function's variance is {ratios[0]:.0f}, {ratios[1]:.0f} and "
        f"{ratios[2]:.0f} times the pathwise one, most where the policy is nearly certain: there it grows "
        "like 1/σ², and the other stays. The price is a problem that can be differentiated.",
    )


EXPERIMENT = Experiment(
    name="pathwise",
    group="variance",
    row=9,
    claim="The pathwise gradient of the same J has less variance than the score function's.",
    place="Heess et al. 2015; Mohamed et al. 2020, §5",
    formula="∇J = E ∇_θ Σ γᵗ r(sₜ, μ_θ(sₜ) + σ_θ εₜ) = E Σ Ψₜ ∇log π(aₜ|sₜ)",
    commands=(
        "pgrun-study -m env=pgrun/LQ1-v0 env.max_episode_steps=1 network.hidden=[] network.bias=false "
        f"gamma=1 critic=none 'schemes=[reward_to_go]' pathwise=true batch={BATCH} episodes=20000 "
        f"network.log_std={','.join(f'{x:g}' for x in LOG_STDS)}",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="The closed forms stand in pgrun/tools/study/pathwise.py; both estimates are made of the same "
    "episodes. That it is lower here is no theorem: it needs a smooth reward.",
    next="env.max_episode_steps=20 env.kwargs.noise=0.5: the derivative goes through the dynamics.",
    seconds=20,
    fast=True,
)
