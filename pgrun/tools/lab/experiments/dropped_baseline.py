from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Bar, Bars, Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import (
    format_iqm,
    group_by,
    mean_curve,
    mean_eval_return,
    mean_over_seeds,
    rows_of_scalar,
    score_jobs,
)

KINDS = {"none": "Q", "v": "Q − Σ_a πQ", "expectation": "Σ_a π(a|s)Q(s, a)∇log π(a|s)"}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = {name: jobs for (name,), jobs in group_by(commands[0], "algo.baseline").items()}
    noise = {k: mean_over_seeds(score_jobs(groups[k], log_variance)) for k in KINDS}
    returns = {k: score_jobs(groups[k], mean_eval_return) for k in KINDS}
    rows = [("baseline", "weight", "Var ĝ, geometric mean", "÷ none", "IQM of evaluations (95 %)")]
    rows += [
        (
            k,
            KINDS[k],
            f"{10 ** noise[k].value:.3g}",
            f"{10 ** (noise[k].value - noise['none'].value):.3g}",
            format_iqm(returns[k]),
        )
        for k in KINDS
    ]
    v, all_of_them = (10 ** (noise[k].value - noise["none"].value) for k in ("v", "expectation"))
    holds = v < 0.8 and all_of_them < 0.8
    return Finding(
        {"Var ĝ, v ÷ none": Measured(v), "Var ĝ, expectation ÷ none": Measured(all_of_them)},
        rows,
        [
            Bars(
                "Variance of the actor's gradient",
                "",
                [
                    Bar(f"{k}: {KINDS[k]}" if k != "expectation" else "expectation", 10 ** noise[k].value)
                    for k in KINDS
                ],
                log=True,
            ),
            Lines(
                "Variance of the actor's gradient",
                "steps",
                [Series(k, *(x.tolist() for x in mean_curve(groups[k], "gradient/variance"))) for k in KINDS],
                log_y=True,
            ),
        ],
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"with Q alone as the weight the gradient has {1 / v:.1f} times the variance that it has with V "
        f"subtracted, and {1 / all_of_them:.1f} times that of the sum over actions. The sacrifice is not "
        "needed: V = Σ_a π(a|s)Q(s, a) follows from the Q that was fitted.",
    )


def log_variance(job: JobResult) -> float:
    return float(np.log10(rows_of_scalar(job, "gradient/variance")).mean())


EXPERIMENT = Experiment(
    name="dropped_baseline",
    group="off_policy",
    row=20,
    claim="Only Q is fitted and V is not known: leaving the baseline out costs variance.",
    chinese="然后由于我们只拟合了 Q，不知道 V。所以干脆就妥协，不减这个 baseline 了，代价是更高的方差。",
    english="Then, since we have fitted Q only and do not know V, we simply compromise and do not subtract "
    "this baseline; the price is a higher variance.",
    place="C L200",
    formula="∇J ≈ 1/B Σ ∇log π(a^π|s) Q̂(s, a^π),   … (Q̂(s, a^π) − Σ_a π(a|s)Q̂(s, a)),   … Σ_a π(a|s)Q̂(s, "
    "a)∇log π(a|s)",
    commands=(
        "pgrun -m algo=off_policy_ac algo.baseline=none,v,expectation algo.entropy=0.05 env=CartPole-v1 "
        "tuned=none seed=0,1,2 diagnostics.gradient_every=20 logger.every=1000 trainer.eval_every=1500 "
        "trainer.eval_episodes=10 trainer.total_steps=3000",
    ),
    read=read,
    expected={"Var ĝ, v ÷ none": Expected(high=0.8), "Var ĝ, expectation ÷ none": Expected(high=0.8)},
    verdict=Verdict.SUPPORTED,
    shows="The units are replayed rows: this is the noise of which states and actions were drawn, given the "
    "buffer. The sum over actions draws none, and what is left is that of the states.",
    next="env=Pendulum-v1, where V is a mean over critic.samples=8 draws.",
    seconds=12,
)
