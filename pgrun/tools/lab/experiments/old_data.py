from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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

CAPACITIES = ("128", "1000", "8000")


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "sampler.capacity")
    returns = {c: score_jobs(groups[c,], mean_eval_return) for c in CAPACITIES}
    age = {c: mean_over_seeds(score_jobs(groups[c,], mean_of("replay/kl_age"))) for c in CAPACITIES}
    rows = [
        (
            "transitions kept",
            "KL from the policy that acted to today's",
            "mean of all evaluations, IQM (95 %)",
        )
    ]
    rows += [(c, str(age[c]), format_iqm(returns[c])) for c in CAPACITIES]
    older = [age[c].value for c in CAPACITIES]
    young, middle, old = (returns[c] for c in CAPACITIES)
    stale, narrow = improvement_over(middle, old)[1] > 0.5, improvement_over(middle, young)[1] > 0.5
    verdict = (
        Verdict.SUPPORTED
        if stale and narrow
        else Verdict.DEPENDS
        if stale or narrow
        else Verdict.INCONCLUSIVE
    )
    if older != sorted(older):
        verdict = Verdict.REFUTED
    return Finding(
        {
            "KL age, 8000 ÷ 128": Measured(older[-1] / older[0]),
            "times that the age does not grow with the capacity": Measured(
                float(sum(y <= x for x, y in pairwise(older)))
            ),
            "P(1000 learns more than 8000)": Measured(improvement_over(middle, old)[0]),
        },
        rows,
        [
            Lines(
                title,
                "steps",
                [
                    Series(f"{c} transitions", *(x.tolist() for x in mean_curve(groups[c,], tag)))
                    for c in CAPACITIES
                ],
                log_y=log,
            )
            for title, tag, log in (
                ("Age of the data: mean KL", "replay/kl_age", True),
                ("Return of the evaluations", "return/eval", False),
            )
        ],
        verdict,
        f"the more is kept, the further back lie the policies that it is from: a mean KL of {older[0]:.3g} "
        f"with {CAPACITIES[0]} transitions, of {older[1]:.3g} with {CAPACITIES[1]} and of {older[2]:.3g} "
        f"with all of them. {CAPACITIES[1]} learn more than all of them, too old, with probability "
        f"{format_improvement(middle, old)}, and more than the last {CAPACITIES[0]}, too narrow, with "
        "probability "
        f"{format_improvement(middle, young)} ({len(middle)} seeds).",
    )


EXPERIMENT = Experiment(
    name="old_data",
    group="off_policy",
    row=21,
    claim="Data of past policies can be used if they are not too far away; a wider distribution of data is "
    "good against surprises.",
    chinese="过去（差的不太远）的 policy 跑出来的数据可以被用来训新的 policy。…… "
    "模型在一个更广的分布上进行学习，可以减少 OOD 的情况。",
    english="Data that past policies (not too far away) have produced can be used to train the new policy. "
    "… The model learns on a wider distribution, which reduces out-of-distribution cases.",
    place="C L184, L203",
    formula="replay/kl_age = mean KL(π that took the replayed action ‖ π now), over the draws of an update",
    commands=(
        f"pgrun -m algo=off_policy_ac sampler.capacity={','.join(CAPACITIES)} algo.entropy=0.05 "
        "env=CartPole-v1 tuned=none seed=0,1,2 sampler.warmup=128 diagnostics.gradient_every=0 "
        "trainer.eval_every=2000 trainer.eval_episodes=10 trainer.total_steps=8000",
    ),
    read=read,
    expected={
        "KL age, 8000 ÷ 128": Expected(low=5),
        "times that the age does not grow with the capacity": Expected(0.0),
        "P(1000 learns more than 8000)": Expected(low=0.5),
    },
    verdict=Verdict.DEPENDS,
    nearby=(Verdict.SUPPORTED, Verdict.INCONCLUSIVE),
    shows="off_policy_ac draws its actions anew and asks the old policies only where they have been: what is "
    "old is the distribution of states. A buffer of the last 128 steps forgets what falling is like, "
    "and one seed may never recover.",
    next="algo.corrections=none, which does ask what they did; trainer.total_steps=1e5.",
    seconds=35,
)
