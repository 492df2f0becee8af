from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import (
    Groups,
    format_improvement,
    format_iqm,
    group_by,
    mean_curve,
    mean_eval_return,
    mean_over_seeds,
    rows_of_scalar,
    score_jobs,
)

EUCLIDEAN, NATURAL = ("0.01", "0.1", "1", "10"), ("0.001", "0.01", "0.1", "1")
GOOD = 300.0  # a return of CartPole's 500
COMMON = (
    "env=CartPole-v1 tuned=none seed=0,1,2,3 sampler.steps=32 env.num_envs=8 diagnostics.gradient_every=0 "
    "trainer.eval_every=1024 trainer.eval_episodes=10 critic.epochs=4 critic.minibatches=4 "
    "trainer.total_steps=10240"
)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    plain, natural = (
        group_by(jobs, key) for jobs, key in zip(commands, ("algo.radius", "algo.delta"), strict=True)
    )
    rows = [("step", "mean of all evaluations, IQM (95 %)", f"steps to {GOOD:g}, median", "lost for good")]
    rows += [(f"‖Δθ‖ = {r}", *summary(plain[r,])) for r in EUCLIDEAN] + [
        (f"KL = {r}", *summary(natural[r,])) for r in NATURAL
    ]
    (best, width), (best_n, width_n) = window(plain, EUCLIDEAN), window(natural, NATURAL)
    small, large = plain[EUCLIDEAN[0],], plain[EUCLIDEAN[-1],]
    crawl = (
        mean_over_seeds(score_jobs(small, mean_eval_return)).value
        / mean_over_seeds(score_jobs(plain[best,], mean_eval_return)).value
    )
    large_share = (
        mean_over_seeds(score_jobs(large, mean_eval_return)).value
        / mean_over_seeds(score_jobs(plain[best,], mean_eval_return)).value
    )
    gone = {r: sum(map(lost, plain[r,])) for r in EUCLIDEAN}
    hit = max(gone, key=lambda r: gone[r])
    verdict = Verdict.REFUTED
    if crawl < 0.5 and large_share < 0.5:
        verdict = Verdict.SUPPORTED if gone[hit] else Verdict.DEPENDS
    return Finding(
        {
            "smallest radius: return ÷ best radius's": Measured(crawl),
            "largest radius: return ÷ best radius's": Measured(large_share),
            "decades of good radii, npg less euclidean": Measured(float(width_n - width)),
        },
        rows,
        [
            Lines(
                title,
                "steps",
                [
                    Series(f"{name} = {r}", *(x.tolist() for x in mean_curve(groups[r,], "return/eval")))
                    for r in names
                ],
            )
            for title, name, groups, names in (
                ("Δθ = εg/‖g‖", "ε", plain, EUCLIDEAN),
                ("Δθ of KL ε, along F⁻¹g", "ε", natural, NATURAL),
            )
        ],
        verdict,
        f"too small a step crawls: with ‖Δθ‖ = {EUCLIDEAN[0]} {100 * crawl:.0f} % of the best radius's "
        f"return. Too large a one wrecks the policy: {100 * large_share:.0f} % with {EUCLIDEAN[-1]}, and "
        f"with {hit} {gone[hit]} of {len(large)} seeds fell below half their best and stayed there. Within "
        f"80 % of the best lie {width} of {len(EUCLIDEAN)} radii of Δθ and {width_n} of {len(NATURAL)} of "
        "KL, a decade apart each: few seeds to tell a wider window from. The best against the best, the "
        "natural step is ahead with probability "
        f"{format_improvement(*(score_jobs(j, mean_eval_return) for j in (natural[best_n,], plain[best,])))}"
        ".",
    )


def summary(jobs: Sequence[JobResult]) -> tuple[str, str, str]:
    first = [at for job in jobs if (at := reached(job)) is not None]
    median = f"{np.median(first):,.0f} ({len(first)} of {len(jobs)})" if first else "never"
    return format_iqm(score_jobs(jobs, mean_eval_return)), median, f"{sum(map(lost, jobs))} of {len(jobs)}"


def reached(job: JobResult) -> float | None:
    steps, values = mean_curve([job], "return/eval")
    return float(steps[values >= GOOD][0]) if (values >= GOOD).any() else None


def lost(job: JobResult) -> bool:
    """Fell below half its best so far, and never came back above that."""
    values = rows_of_scalar(job, "return/eval")
    peak = int(values.argmax())
    after = values[peak + 1 :]
    return bool(
        len(after) >= 3
        and (after < values[peak] / 2).any()
        and after[int((after < values[peak] / 2).argmax()) :].max() < values[peak] / 2
    )


def window(groups: Groups, names: Sequence[str]) -> tuple[str, int]:
    """(the best step size, how many are within 80 % of it)"""
    mean = {r: mean_over_seeds(score_jobs(groups[r,], mean_eval_return)).value for r in names}
    best = max(mean, key=lambda r: mean[r])
    return best, sum(value >= 0.8 * mean[best] for value in mean.values())


EXPERIMENT = Experiment(
    name="overshoot",
    group="natural",
    row=27,
    claim="Too large a step lands in a bad policy, from whose data nothing can be learned any more; too "
    "small a one crawls.",
    chinese=(
        "过冲（Overshooting）：更新错过了奖励峰值并落入了次优策略区域 …… 用较差的数据样本再去更新策略，从而"
        "陷入了糟糕的正反馈中无法恢复。较小的学习率可能会解决这个问题，但会导致收敛速度变慢的undershooting问"
        "题。"
    ),
    english="Overshooting: the update misses the peak of the reward and falls into a region of inferior "
    "policies … then updates the policy again with worse samples, and so gets into a vicious circle from "
    "which it cannot recover. A smaller learning rate may solve this, but leads to undershooting, where "
    "convergence is slow.",
    place="B L5–9",
    formula="Δθ = ε g/‖g‖  against  Δθ = √(2ε/gᵀF⁻¹g) F⁻¹g,   for ε over several decades",
    commands=(
        f"pgrun -m algo=euclidean_pg algo.radius={','.join(EUCLIDEAN)} {COMMON}",
        f"pgrun -m algo=npg algo.delta={','.join(NATURAL)} {COMMON}",
    ),
    read=read,
    expected={
        "smallest radius: return ÷ best radius's": Expected(high=0.6),
        "largest radius: return ÷ best radius's": Expected(high=0.6),
        "decades of good radii, npg less euclidean": Expected(low=-2, high=4),
    },
    verdict=Verdict.SUPPORTED,
    nearby=(Verdict.DEPENDS,),
    shows="'Lost for good' is the overshoot of the notes: below half of the best evaluation, and never "
    "above it again in the steps that were left.",
    next="algo=ppo algo.clip=1e9 optimizer.lr=0.1: overshooting with Adam; algo.ball=squared.",
    seconds=45,
)
