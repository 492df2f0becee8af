from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, rows_of_scalar

RADII = ("0.001", "0.01", "0.1")
ROUNDING = 1e-9  # of J, summed over a hundred steps in float64


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "algo.delta")
    changes = {r: np.concatenate([steps(job) for job in groups[r,]]) for r in RADII}
    down = {r: int((x < -ROUNDING).sum()) for r, x in changes.items()}
    rows = [("δ", "accepted steps", "J fell", "largest fall", "mean gain", "J at the end")]
    rows += [
        (
            r,
            str(len(x)),
            str(down[r]),
            f"{max(-x.min(), 0):.2g}",
            f"{x.mean():.2g}",
            f"{np.mean([j(job)[-1] for job in groups[r,]]):.3f}",
        )
        for r, x in changes.items()
    ]
    total, falls = sum(map(len, changes.values())), sum(down.values())
    return Finding(
        {
            "accepted steps": Measured(float(total)),
            "share of steps after which J is lower": Measured(falls / total),
            "mean gain ÷ mean size of a change": Measured(
                float(np.mean([x.mean() / np.abs(x).mean() for x in changes.values()]))
            ),
        },
        rows,
        [
            Lines(
                "Exact J after each update (first seed)",
                "steps",
                [
                    Series(
                        f"δ = {r}",
                        rows_of_scalar(groups[r,][0], "env_steps").tolist()[: len(j(groups[r,][0]))],
                        j(groups[r,][0]).tolist(),
                    )
                    for r in RADII
                ],
            )
        ],
        Verdict.DEPENDS if falls else Verdict.SUPPORTED,
        f"{total - falls} of {total} accepted steps raised the exact J and {falls} lowered it: with an "
        "exact critic, and the surrogate and the mean KL of the batch held to. The proof is for the bound "
        "with the largest KL over states and the true expectation; what TRPO computes has neither.",
    )


def j(job: JobResult) -> np.ndarray:
    return rows_of_scalar(job, "objective/exact")


def steps(job: JobResult) -> np.ndarray:
    """The change of J by each accepted step but the first."""
    return np.diff(j(job))[rows_of_scalar(job, "step/accepted")[1:] > 0]


EXPERIMENT = Experiment(
    name="monotone",
    group="trust_region",
    row=33,
    claim="Under TRPO's constraint the return rises monotonically.",
    chinese="通过限制更新前后的 KL 散度来确保策略的变化在一个“信任区域”内。…… 可以证明回报是单调递增的。",
    english="By limiting the KL divergence between before and after the update, the change of the policy is "
    "kept within a “trust region”. … It can be proved that the return rises monotonically.",
    place="C L252",
    formula="max E[ρA]  subject to mean KL(old‖new) ≤ δ;    exact J(θ_k+1) − J(θ_k) after each accepted step",
    commands=(
        f"pgrun -m algo=trpo algo.delta={','.join(RADII)} env=FrozenLake-v1 critic=exact "
        "diagnostics.exact=true diagnostics.gradient_every=0 seed=0,1,2 sampler.steps=64 "
        "trainer.eval_every=null trainer.total_steps=15000",
    ),
    read=read,
    expected={
        "accepted steps": Expected(low=100),
        "share of steps after which J is lower": Expected(low=0.005, high=0.45),
        "mean gain ÷ mean size of a change": Expected(low=0.2),
    },
    verdict=Verdict.DEPENDS,
    shows="The critic is exact, so that nothing but the sampling of 512 rows and the approximation of the "
    "bound is left. Small steps fall as often as large ones, and not as far.",
    next="sampler.steps=1024, a batch sixteen times as large; algo.improve_surrogate=false, the line search "
    "as the notes have it.",
    seconds=15,
)
