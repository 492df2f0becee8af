from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, rows_of_scalar

DELTA = 0.01


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = {name: jobs for (name,), jobs in group_by(commands[0], "algo").items()}
    kl = {
        name: np.concatenate([rows_of_scalar(job, "step/kl_realised") for job in jobs])
        for name, jobs in groups.items()
    }
    tries = np.concatenate([rows_of_scalar(job, "step/line_search_steps") for job in groups["trpo"]])
    over = {name: float((x > DELTA).mean()) for name, x in kl.items()}
    rows = [("", "updates", "mean KL", "largest KL", f"share above δ = {DELTA}")]
    rows += [
        (name, str(len(x)), f"{x.mean():.5f}", f"{x.max():.5f}", f"{100 * over[name]:.0f} %")
        for name, x in kl.items()
    ]
    holds = over["npg"] > 0 and over["trpo"] == 0
    return Finding(
        {
            "share of steps with KL > δ, npg": Measured(over["npg"]),
            "share of steps with KL > δ, trpo": Measured(over["trpo"]),
            "share of trpo's steps that were cut back": Measured(float((tries > 1).mean())),
        },
        rows,
        [
            Lines(
                "KL of each update (first seed)",
                "steps",
                [
                    *(
                        Series(
                            name,
                            rows_of_scalar(jobs[0], "env_steps").tolist(),
                            rows_of_scalar(jobs[0], "step/kl_realised").tolist(),
                        )
                        for name, jobs in groups.items()
                    ),
                    Series(
                        "δ",
                        rows_of_scalar(groups["npg"][0], "env_steps").tolist(),
                        [DELTA] * len(rows_of_scalar(groups["npg"][0], "env_steps")),
                        dashed=True,
                    ),
                ],
            )
        ],
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"{100 * over['npg']:.0f} % of npg's {len(kl['npg'])} steps went beyond δ, to "
        f"{kl['npg'].max() / DELTA:.2f} times it; none of trpo's, whose line search cut "
        f"{100 * float((tries > 1).mean()):.0f} % of them back, and made the mean KL "
        f"{kl['trpo'].mean() / DELTA:.2f} δ.",
    )


EXPERIMENT = Experiment(
    name="taylor",
    group="trust_region",
    row=32,
    claim="The step from the Taylor expansion may break the KL constraint; the line search mends that.",
    chinese="线搜索。由于泰勒展开会有估计误差，KL 约束可能没有得到满足。…… 从 j=0 开始，找到最小的 j 使得 "
    "π_θk+1 满足 KL 约束。",
    english="Line search. Since the Taylor expansion has an error, the KL constraint may not hold. … "
    "Starting from j = 0, find the smallest j such that π_θk+1 satisfies the KL constraint.",
    place="C L264",
    formula="θ_k+1 = θ_k + αʲ √(2δ/gᵀH⁻¹g) H⁻¹g,   j = 0 (npg) or the smallest with mean KL ≤ δ and a "
    "better surrogate (trpo)",
    commands=(
        f"pgrun -m algo=npg,trpo env=HalfCheetah-v5 tuned=none algo.delta={DELTA} seed=0,1 sampler.steps=64 "
        "diagnostics.gradient_every=0 critic.epochs=4 trainer.eval_every=null trainer.eval_episodes=1 "
        "trainer.total_steps=15360",
    ),
    read=read,
    expected={
        "share of steps with KL > δ, npg": Expected(low=0.1),
        "share of steps with KL > δ, trpo": Expected(0.0),
        "share of trpo's steps that were cut back": Expected(low=0.1),
    },
    verdict=Verdict.SUPPORTED,
    shows="½ΔᵀHΔ = δ is true to second order; where the third adds, the KL lies above. trpo's promise is "
    "kept in float64, so that whoever recomputes the KL finds it kept.",
    next="algo.delta=0.1; algo.improve_surrogate=false, the search as it is written down.",
    seconds=15,
)
