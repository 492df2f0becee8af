from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
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
    score_jobs,
)

REUSES = ("1", "2", "4", "8", "32")


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "algo.reuses")
    returns = {n: score_jobs(groups[n,], mean_eval_return) for n in REUSES}
    ess = {n: mean_over_seeds(score_jobs(groups[n,], mean_of("weight/ess"))) for n in REUSES}
    kl = {n: mean_over_seeds(score_jobs(groups[n,], mean_of("kl/old_new"))) for n in REUSES}
    rows = [
        ("uses of a batch", "mean of all evaluations, IQM (95 %)", "ESS ÷ episodes", "mean KL of an update")
    ]
    rows += [(n, format_iqm(returns[n]), str(ess[n]), str(kl[n])) for n in REUSES]
    best = max(REUSES, key=lambda n: returns[n].mean())
    p, low, _ = improvement_over(returns[best], returns["1"])
    falling = [ess[n].value for n in REUSES]
    wears = falling == sorted(falling, reverse=True)
    helps = low > 0.5 and best != "1"
    verdict = (
        Verdict.DEPENDS
        if helps and wears
        else Verdict.SUPPORTED
        if helps
        else Verdict.INCONCLUSIVE
        if p > 0.5
        else Verdict.REFUTED
    )
    return Finding(
        {
            "return, 8 uses ÷ 1": Measured(float(returns["8"].mean() / returns["1"].mean())),
            "ESS ÷ episodes, 1 use": ess["1"],
            "ESS ÷ episodes, 32 uses": ess["32"],
        },
        rows,
        [
            Lines(
                title,
                "steps",
                [Series(f"{n} uses", *(x.tolist() for x in mean_curve(groups[n,], tag))) for n in REUSES],
            )
            for title, tag in (
                ("Return of the evaluations", "return/eval"),
                ("Effective sample size ÷ episodes", "weight/ess"),
            )
        ],
        verdict,
        f"with {best} uses of each batch more is learned from the same steps than with one, with "
        f"probability {format_improvement(returns[best], returns['1'])} ({len(returns['1'])} seeds). What is "
        "reused wears "
        f"out: of 16 episodes {16 * ess['1'].value:.1f} are left to count after one step, "
        f"{16 * ess['8'].value:.1f} after eight and {16 * ess['32'].value:.1f} after thirty-two.",
    )


EXPERIMENT = Experiment(
    name="reuse",
    group="off_policy",
    row=22,
    claim="On-policy gradients throw every batch away after one step, which is wasteful; reusing it helps.",
    chinese="那么就意味着每次我更新一点参数，我就要重新采集一批数据，这个是非常低效的。于是就有Off-Policy "
    "Policy Gradients。",
    english="That means that each time I move the parameters a little, I have to collect a new batch of "
    "data, which is very inefficient. Hence off-policy policy gradients.",
    place="A L145; C L60",
    formula="θ ← θ + α 1/N Σᵢ Σₜ ρₜ Ψₜ ∇log π(aₜ|sₜ),   n times on one batch;   ESS = (ΣW)²/ΣW²,  W = ∏ₜ ρₜ",
    commands=(
        f"pgrun -m algo=off_policy_pg algo.reuses={','.join(REUSES)} env=CartPole-v1 tuned=none "
        "seed=0,1,2,3,4 optimizer.lr=2e-3 optimizer.schedule=constant diagnostics.gradient_every=0 "
        "trainer.eval_every=2000 trainer.eval_episodes=10 trainer.total_steps=20000",
    ),
    read=read,
    expected={
        "return, 8 uses ÷ 1": Expected(low=1.2),
        "ESS ÷ episodes, 1 use": Expected(low=0.9, high=1.0),
        "ESS ÷ episodes, 32 uses": Expected(high=0.6),
    },
    verdict=Verdict.DEPENDS,
    shows="The x axis is steps of the environment: reusing costs computing, not data. With too many uses the "
    "weights of whole episodes are those of a few, and what the batch says of the new policy is noise.",
    next="optimizer.lr=1e-2, where one use is nearly enough; algo.weights=trajectory; `pgrun-lab "
    "too_many_epochs`.",
    seconds=50,
)
