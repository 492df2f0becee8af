from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import (
    Groups,
    format_iqm,
    group_by,
    mean_curve,
    mean_eval_return,
    mean_of,
    mean_over_seeds,
    rows_of_scalar,
    score_jobs,
)

STEPS = {
    "none": "naive: y from V, a from the buffer",
    "q": "+ Q instead of V",
    "q_next": "+ a' of today's policy",
    "all": "+ the actor's a too",
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    walk, pole = (group_by(jobs, "algo.corrections") for jobs in commands)
    error = {c: mean_over_seeds(score_jobs(walk[c,], mean_of("value/error", skip=10))) for c in STEPS}
    bias = {c: mean_over_seeds(score_jobs(walk[c,], mean_of("value/target_bias", skip=10))) for c in STEPS}
    end = {
        c: mean_over_seeds(
            score_jobs(walk[c,], lambda job: float(rows_of_scalar(job, "objective/exact")[-1]))
        )
        for c in STEPS
    }
    returns = {c: score_jobs(pole[c,], mean_eval_return) for c in STEPS}
    rows = [
        (
            "corrections",
            "",
            "mean (Q̂ − Q)²",
            "bias of y",
            "J at the end",
            "CartPole, IQM of evaluations (95 %)",
        )
    ]
    rows += [
        (c, text, str(error[c]), str(bias[c]), str(end[c]), format_iqm(returns[c]))
        for c, text in STEPS.items()
    ]
    critic = [error[c].value for c in ("none", "q", "q_next")]
    falls = all(b < a for a, b in pairwise(critic))
    best = max(STEPS, key=lambda c: returns[c].mean())
    pays = best == "all"
    verdict = Verdict.REFUTED if not falls else Verdict.SUPPORTED if pays else Verdict.DEPENDS
    return Finding(
        {
            "error of the critic, q ÷ none": Measured(critic[1] / critic[0]),
            "error of the critic, q_next ÷ q": Measured(critic[2] / critic[1]),
            "error of the critic, all ÷ none": Measured(error["all"].value / critic[0]),
        },
        rows,
        [
            Lines(
                "SmallMDP: error of the critic against exact Q",
                "steps",
                series(walk, "value/error"),
                log_y=True,
            ),
            Lines("CartPole: return of the evaluations", "steps", series(pole, "return/eval")),
        ],
        verdict,
        f"the critic's squared error against the exact Q of today's policy falls from {critic[0]:.3g} over "
        f"{critic[1]:.3g} (Q in place of V) to {critic[2]:.3g} (today's a'), and is "
        f"{error['all'].value:.3g} with all three mended. On CartPole, where the buffer is young and V is "
        f"easier to fit than Q, most was learned with {best}: {returns[best].mean():.0f}, against "
        f"{returns['all'].mean():.0f} with all ({len(returns['all'])} seeds).",
    )


def series(groups: Groups, tag: str) -> list[Series]:
    return [Series(c, *(x.tolist() for x in mean_curve(groups[c,], tag))) for c in STEPS]


EXPERIMENT = Experiment(
    name="replay_mistakes",
    group="off_policy",
    row=19,
    claim="Actor-critic on replayed transitions, done naively, is wrong in several places; each can be "
    "mended.",
    chinese="由于策略是旧的，所以 a 肯定是不对的，自然 s' 也不对。…… 针对第三行的 Critic 网络，我们改为拟合 "
    "Q。…… 只需要让这个 a' 是由当前的新策略 take 出来的就好了。",
    english="Since the policy is an old one, a is certainly not right, and so naturally s' is not either. … "
    "For the critic in the third line, we fit Q instead. … It is enough that this a' is taken by the "
    "present, new policy.",
    place="C L187–200",
    formula="y = r + γV̂(s')  →  Q̂(s, a) ← r + γQ̂(s', a'), a' ~ π_old  →  a' ~ π_now  →  actor: ∇log "
    "π(a^π|s) Q̂(s, a^π), a^π ~ π_now",
    commands=(
        f"pgrun -m algo=off_policy_ac algo.corrections={','.join(STEPS)} env=pgrun/SmallMDP-v0 "
        "env.max_episode_steps=200 gamma=0.9 network.hidden=[32] seed=0,1,2 sampler.warmup=200 "
        "critic.rate=0.1 critic.optimizer.lr=5e-3 optimizer.lr=5e-4 diagnostics.exact=true "
        "diagnostics.gradient_every=0 logger.every=25 trainer.eval_every=null trainer.total_steps=3000",
        f"pgrun -m algo=off_policy_ac algo.corrections={','.join(STEPS)} algo.entropy=0.05 env=CartPole-v1 "
        "tuned=none seed=0,1,2 diagnostics.gradient_every=0 trainer.eval_every=1000 "
        "trainer.eval_episodes=10 trainer.total_steps=4000",
    ),
    read=read,
    expected={
        "error of the critic, q ÷ none": Expected(high=0.9),
        "error of the critic, q_next ÷ q": Expected(high=0.9),
        "error of the critic, all ÷ none": Expected(high=0.5),
    },
    verdict=Verdict.DEPENDS,
    shows="'none' has no Q: its V̂(s) stands for Q(s, a), which is what its actor takes. The mended critic is "
    "nearer to the truth; whether that pays is another question, and here it does not yet.",
    next="env=pgrun/RandomWalk-v0 env.kwargs.states=7 gamma=0.95, where a step to either side hardly "
    "differs and V does as well as the old Q; `pgrun-lab old_data`.",
    seconds=35,
)
