from __future__ import annotations

import math
from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, mean_over_seeds
from pgrun.tools.lab.tables import outcome_rows

LOG_STDS = ("-1", "0", "1")
EXPECTED = {
    "σ = 0.368: exact": Expected(0.9923, slack=1e-4),
    "σ = 1: exact": Expected(0.6908, slack=1e-4),
    "σ = 2.72: exact": Expected(0.3869, slack=1e-4),
    "σ = 0.368: Pendulum": Expected(low=0.8, high=1.1),
    "σ = 1: Pendulum": Expected(low=0.6, high=1.0),
    "σ = 2.72: Pendulum": Expected(low=0.2, high=0.8),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import numpy as np

    groups = group_by(commands[0], "network.log_std", "policy")
    sigmas = [math.exp(float(x)) for x in LOG_STDS]
    exact = [share_of_information(x) for x in sigmas]
    measured = [
        mean_over_seeds(
            np.array(
                [
                    c.metrics["gradient/variance"][0] / g.metrics["gradient/variance"][0]
                    for c, g in zip(groups[x, "clipped"], groups[x, "gaussian"], strict=True)
                ]
            )
        )
        for x in LOG_STDS
    ]
    numbers = (*map(Measured, exact), *measured)
    outcomes = dict(zip(EXPECTED, numbers, strict=True))
    lower = all(m.value + 4 * m.se < 1 for m in measured[1:])
    grid = [0.2 * k for k in range(1, 16)]
    curve = Series("exact, one step", grid, [share_of_information(x) for x in grid], bare=True)
    dots = Series("Pendulum, first update", sigmas, [m.value for m in measured], [m.se for m in measured])
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "variance, clipped score ÷ plain score"),
        (Lines("Variance of the gradient, clipped ÷ plain", "σ, in half ranges", (curve, dots)),),
        Verdict.SUPPORTED if lower and max(exact) < 1 else Verdict.REFUTED,
        "at σ = 1, where 32 % of the actions are clipped, Pendulum's first update has "
        f"{measured[1].value:.2f} of the plain score's variance, and at σ = 2.7 {measured[2].value:.2f}; "
        "at σ = 0.37 there is nothing to gain, as nearly nothing is clipped.",
    )


def share_of_information(sigma: float) -> float:
    """E‖∇log π‖² of the clipped score over that of the plain one, 1 + 2, in (μ/σ, log σ) at μ = 0: with
    c = 1/σ, φ its density, Q = Φ(−c), m₂ = 1 − 2Q − 2cφ and m₄ = 3(1 − 2Q) − 2(c³ + 3c)φ

        m₂ + 2φ²/Q   and   m₄ − 2m₂ + (1 − 2Q) + 2c²φ²/Q
    """
    c = 1 / sigma
    density = math.exp(-0.5 * c**2) / math.sqrt(2 * math.pi)
    beyond = 0.5 * math.erfc(c / math.sqrt(2))
    second = 1 - 2 * beyond - 2 * c * density
    fourth = 3 * (1 - 2 * beyond) - 2 * (c**3 + 3 * c) * density
    lumps = 2 * density**2 / beyond
    of_mean = second + lumps
    of_std = fourth - 2 * second + (1 - 2 * beyond) + c**2 * lumps
    return (of_mean + of_std) / 3


EXPERIMENT = Experiment(
    name="clipped_actions",
    group="variance",
    row=10,
    claim="Where actions are clipped, the score of the clipped action has the same mean and less variance.",
    place="Fujita & Maeda 2018, §3",
    formula="∇log π(a) = ∇log Φ((−1 − μ)/σ) at a = −1,   ∇log N(a) within,   ∇log Φ((μ − 1)/σ) at a = 1",
    commands=(
        "pgrun -m algo=reinforce env=Pendulum-v1 tuned=none policy=gaussian,clipped "
        f"network.log_std={','.join(LOG_STDS)} variance=reward_to_go advantage_norm=none "
        "sampler.episodes=64 trainer.total_steps=1 trainer.eval_episodes=1 logger.every=1 "
        "diagnostics.gradient_every=1 seed=0,1,2",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="Both policies draw the same episodes, and Ψ is the same: only the score differs. The exact "
    "numbers are the ratio for a weight that knows nothing of the action.",
    next="network.log_std=-2: the two are one number. trainer.total_steps=100000: what it is worth in the "
    "end.",
    seconds=30,
)
