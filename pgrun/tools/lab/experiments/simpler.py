from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars, Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import (
    format_improvement,
    format_iqm,
    group_by,
    improvement_over,
    mean_curve,
    mean_eval_return,
    mean_of,
    mean_over_seeds,
    rows_of_scalar,
    score_jobs,
)

ALGORITHMS = ("trpo", "ppo", "ppo_penalty")


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = {name: jobs for jobs_of in commands for (name,), jobs in group_by(jobs_of, "algo").items()}
    returns = {a: score_jobs(groups[a], mean_eval_return) for a in ALGORITHMS}
    kl = {a: mean_over_seeds(score_jobs(groups[a], mean_of("kl/old_new"))) for a in ALGORITHMS}
    cost = {a: mean_over_seeds(score_jobs(groups[a], learning_seconds)) for a in ALGORITHMS}
    rows = [("", "IQM of evaluations (95 %)", "mean KL of an update", "ms of learning an update")]
    rows += [(a, format_iqm(returns[a]), str(kl[a]), f"{1000 * cost[a].value:.0f}") for a in ALGORITHMS]
    against = {a: improvement_over(returns[a], returns["trpo"]) for a in ALGORITHMS[1:]}
    worse = [a for a, (_, _, high) in against.items() if high < 0.5]
    ahead = [a for a, (_, low, _) in against.items() if low > 0.5]
    verdict = (
        Verdict.REFUTED
        if len(worse) == 2
        else Verdict.DEPENDS
        if worse
        else Verdict.SUPPORTED
        if ahead
        else Verdict.INCONCLUSIVE
    )
    return Finding(
        {
            "P(ppo > trpo)": Measured(against["ppo"][0]),
            "P(ppo_penalty > trpo)": Measured(against["ppo_penalty"][0]),
            "largest mean KL": Measured(max(m.value for m in kl.values())),
        },
        rows,
        [
            Lines(
                "Return of the evaluations",
                "steps",
                [Series(a, *(x.tolist() for x in mean_curve(groups[a], "return/eval"))) for a in ALGORITHMS],
            ),
            Bars(
                "Learning, ms an update",
                "",
                [Bar(a, 1000 * cost[a].value, 1000 * cost[a].se) for a in ALGORITHMS],
            ),
        ],
        verdict,
        "with first-order steps alone, ppo is ahead of trpo with probability "
        f"{format_improvement(returns['ppo'], returns['trpo'])} and ppo_penalty with "
        f"{format_improvement(returns['ppo_penalty'], returns['trpo'])} ({len(returns['ppo'])} seeds, "
        f"{groups['ppo'][0].result['env_steps']:,} steps: the beginning of what HalfCheetah takes). To "
        f"learn from one batch took {1000 * cost['trpo'].value:.0f} ms (trpo), "
        f"{1000 * cost['ppo'].value:.0f} and {1000 * cost['ppo_penalty'].value:.0f} on this machine.",
    )


def learning_seconds(job: JobResult) -> float:
    """Seconds of learning an update: their share of the loop."""
    seconds: float = (
        float(rows_of_scalar(job, "time/learning_share")[-1])
        * job.result["env_steps"]
        / job.result["env_steps_per_second"]
        / job.result["updates"]
    )
    return seconds


EXPERIMENT = Experiment(
    name="simpler",
    group="trust_region",
    row=36,
    claim="PPO is simpler than TRPO, with first-order optimisation alone, and no worse.",
    chinese="TRPO 虽然会有比较严格的保证，但实现起来仍然比较困难。PPO "
    "在这基础上进一步进行了简化，使用一阶优化，然后利用软约束来确保新旧策略“不会差得太远”。",
    english="TRPO has rather strict guarantees, but is still rather hard to implement. PPO simplifies it "
    "further, uses first-order optimisation, and then a soft constraint to make sure that the new policy is "
    "“not too different” from the old one.",
    place="C L270–271",
    formula="trpo: F⁻¹g and a line search;   ppo: ∇ min(ρA, clip(ρ)A);   ppo_penalty: ∇(ρA − β KL)",
    commands=(
        "pgrun -m algo=trpo,ppo,ppo_penalty env=HalfCheetah-v5 tuned=none seed=0,1,2 env.num_envs=8 "
        "sampler.steps=128 state_norm=true reward_scaling=true critic.epochs=10 critic.minibatches=8 "
        "diagnostics.gradient_every=0 trainer.eval_every=4096 trainer.eval_episodes=2 "
        "trainer.total_steps=16384",
    ),
    read=read,
    expected={
        "P(ppo > trpo)": Expected(low=0.0, high=1.0),
        "P(ppo_penalty > trpo)": Expected(low=0.0, high=1.0),
        "largest mean KL": Expected(high=0.1),
    },
    verdict=Verdict.INCONCLUSIVE,
    nearby=(Verdict.SUPPORTED, Verdict.DEPENDS, Verdict.REFUTED),
    shows="Same data, same critic, same normalisation. Three seeds of so short a run cannot tell methods "
    "apart that are near to each other, and the sentence says which ones they do.",
    next="trainer.total_steps=1e6 seed=0,1,2,3,4,5,6,7,8,9 overnight, then pgrun-compare; the page of "
    "results has longer runs.",
    seconds=45,
)
