from __future__ import annotations

import itertools
from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Verdict
from pgrun.tools.lab.tables import outcome_rows
from pgrun.tools.lab.units import bias_in_theta, variance_in_theta

VARIANCES = {
    1: 8.0,
    2: 20.8,
    4: 40.4,
    8: 52.9,
    16: 54.7,
}  # with V̂ = 0.8 V at θ = ½, summed over episode lengths
EXPECTED = {f"bias, n = {n}": Expected(-0.4 * 0.5 ** (n - 1)) for n in VARIANCES} | {
    f"variance, n = {n}": Expected(v, slack=0.05) for n, v in VARIANCES.items()
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    entries = [job.result["schemes"][next(iter(job.result["schemes"]))] for job in commands[0]]
    outcomes = {f"bias, n = {n}": bias_in_theta(e, 0.5) for n, e in zip(VARIANCES, entries, strict=True)}
    outcomes |= {
        f"variance, n = {n}": variance_in_theta(e, 0.5) for n, e in zip(VARIANCES, entries, strict=True)
    }
    spread = [outcomes[f"variance, n = {n}"] for n in VARIANCES]
    bias = [outcomes[f"bias, n = {n}"] for n in VARIANCES]
    rising = all(a.value < b.value + 4 * (a.se + b.se) for a, b in itertools.pairwise(spread))
    falling = all(abs(a.value) + 4 * (a.se + b.se) > abs(b.value) for a, b in itertools.pairwise(bias))
    apart = spread[-1].value > 2 * spread[0].value and abs(bias[0].value) > 4 * bias[0].se
    steps = list(VARIANCES)
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Lines(
                "Variance",
                "n",
                (
                    Series(
                        "variance of one episode's gradient",
                        steps,
                        [m.value for m in spread],
                        [m.se for m in spread],
                    ),
                ),
                log_x=True,
            ),
            Lines(
                "Bias",
                "n",
                (
                    Series(
                        "bias along ∇J", steps, [m.value for m in bias], [m.se for m in bias], points=True
                    ),
                    Series(
                        "Dθⁿ⁻¹/(1 − θ)",
                        range(1, 17),
                        [-0.4 * 0.5 ** (n - 1) for n in range(1, 17)],
                        dashed=True,
                    ),
                ),
                log_x=True,
            ),
        ),
        Verdict.SUPPORTED if rising and falling and apart else Verdict.REFUTED,
        f"from n = 1 to 16 the variance rises from {spread[0].value:.1f} to {spread[-1].value:.1f} and the "
        f"bias falls from {bias[0].value:.2f} to {bias[-1]}, with a critic that is 20 % low; with the exact "
        "one there is no bias to trade.",
    )


EXPERIMENT = Experiment(
    name="n_steps",
    group="critics",
    row=11,
    claim="The larger n, the more variance and the less bias; n = 1 is TD(0), n = ∞ Monte Carlo.",
    chinese="n = 1 就是 TD(0)。n = ∞ 就是 Monte Carlo。n 越大，方差越大，偏差越小。",
    english="n = 1 is TD(0). n = ∞ is Monte Carlo. The larger n, the larger the variance and the smaller "
    "the bias.",
    place="C L112–118",
    formula="Âₙ = Σ_{k<n} γᵏrₜ₊ₖ + γⁿV̂(sₜ₊ₙ) − V̂(sₜ);   a constant error D = V̂ − V leaves the bias Dθⁿ⁻¹/(1 "
    "− θ) on OneState",
    commands=(
        "pgrun-study -m env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.max_episode_steps=200 gamma=1 "
        "critic=scaled critic.factor=0.8 variance=n_step variance.n=1,2,4,8,16 batch=1 episodes=40000 "
        "env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="Each further step takes the bias down by θ, the chance to be still there, and adds the noise of "
    "one more reward. Episodes of OneState last two steps on average: beyond eight there is little left "
    "to gain.",
    next="critic.factor=1 in the command: the bias is gone, and n = 1 is simply best.",
    seconds=6,
    fast=True,
)
