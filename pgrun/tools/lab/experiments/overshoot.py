from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pgrun.analysis.compare.table import median_over_runs
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
    gone, gone_n = count_lost_above(plain, EUCLIDEAN, best), count_lost_above(natural, NATURAL, best_n)
    both_fail = crawl < 0.5 and large_share < 0.5
    verdict = Verdict.REFUTED
    if both_fail:
        verdict = Verdict.SUPPORTED if any(gone.values()) else Verdict.DEPENDS
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
        f"{describe_extremes(crawl, large_share, both_fail)}. "
        f"{describe_losses(gone, sum(map(lost, plain[best,])), gone_n, len(large))}. Within 80 % of the best "
        f"lie {width} of {len(EUCLIDEAN)} radii of Δθ and {width_n} of {len(NATURAL)} of "
        "KL, a decade apart each: few seeds to tell a wider window from. The best against the best, the "
        "natural step is ahead with probability "
        f"{format_improvement(*(score_jobs(j, mean_eval_return) for j in (natural[best_n,], plain[best,])))}"
        ".",
    )


def describe_extremes(crawl: float, large_share: float, both_fail: bool) -> str:
    """What the smallest and the largest radius reach of the best one's return."""
    if both_fail:
        return (
            f"too small a step crawls: with ‖Δθ‖ = {EUCLIDEAN[0]} {100 * crawl:.0f} % of the best radius's "
            f"return. Too large a one wrecks the policy: {100 * large_share:.0f} % with {EUCLIDEAN[-1]}"
        )
    return (
        f"of the best radius's return the smallest, {EUCLIDEAN[0]}, has {100 * crawl:.0f} % and the "
        f"largest, {EUCLIDEAN[-1]}, {100 * large_share:.0f} %: not both lose half of it"
    )


def describe_losses(gone: Mapping[str, int], at_best: int, gone_n: Mapping[str, int], seeds: int) -> str:
    """How many seeds fell for good with steps larger than the best one, of Δθ and of KL."""
    if not gone:
        return "No radius above the best one was tried"
    hit, hit_n = max(gone, key=gone.__getitem__, default=""), max(gone_n, key=gone_n.__getitem__, default="")
    if gone.get(hit):
        return f"With ‖Δθ‖ = {hit}, {gone[hit]} of {seeds} seeds fell below half their best and stayed there"
    steeper = f", and with KL = {hit_n}, {gone_n[hit_n]} of {seeds}" if gone_n.get(hit_n) else ""
    return (
        "With no radius above the best one did a seed fall below half its best and stay there; with the "
        f"best itself {at_best} of {seeds} did{steeper}"
    )


def count_lost_above(groups: Groups, names: Sequence[str], best: str) -> dict[str, int]:
    """How many seeds were lost for good with each step size above the best one."""
    return {r: sum(map(lost, groups[r,])) for r in names[names.index(best) + 1 :]}


def summary(jobs: Sequence[JobResult]) -> tuple[str, str, str]:
    first = np.array([steps_until_good(job) for job in jobs])
    median = float(median_over_runs(first))
    steps = f"{median:,.0f}" if math.isfinite(median) else "never"
    reached = f"{steps} ({int(np.isfinite(first).sum())} of {len(jobs)})"
    return format_iqm(score_jobs(jobs, mean_eval_return)), reached, f"{sum(map(lost, jobs))} of {len(jobs)}"


def steps_until_good(job: JobResult) -> float:
    """Environment steps until an evaluation first reaches ``GOOD``; infinite where none does."""
    steps, values = mean_curve([job], "return/eval")
    return float(steps[values >= GOOD][0]) if (values >= GOOD).any() else math.inf


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
    "above it again in the steps that were left. A seed that never reached 300 counts as infinite in the "
    "median.",
    next="algo=ppo algo.clip=1e9 optimizer.lr=0.1: overshooting with Adam; algo.ball=squared.",
    seconds=45,
)
