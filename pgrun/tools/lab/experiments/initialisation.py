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

CELLS = [(init, activation) for init in ("orthogonal", "xavier") for activation in ("tanh", "relu")]


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "network.init", "network.activation")
    returns = {cell: score_jobs(groups[cell], mean_eval_return) for cell in CELLS}
    noise = {
        cell: mean_over_seeds(score_jobs(groups[cell], mean_of("gradient/variance", first=2)))
        for cell in CELLS
    }
    kl = {cell: mean_over_seeds(score_jobs(groups[cell], mean_of("kl/old_new", first=2))) for cell in CELLS}
    rows = [
        (
            "initialisation",
            "activation",
            "IQM of evaluations (95 %)",
            "Var ĝ, first updates",
            "mean KL, first updates",
        )
    ]
    rows += [(*cell, format_iqm(returns[cell]), str(noise[cell]), str(kl[cell])) for cell in CELLS]
    inits = improvement_over(returns["orthogonal", "tanh"], returns["xavier", "tanh"])
    functions = improvement_over(returns["orthogonal", "tanh"], returns["orthogonal", "relu"])
    sides = [1 if low > 0.5 else -1 if high < 0.5 else 0 for _, low, high in (inits, functions)]
    verdict = (
        Verdict.INCONCLUSIVE
        if not any(sides)
        else Verdict.SUPPORTED
        if min(sides) == 1
        else Verdict.REFUTED
        if max(sides) < 1
        else Verdict.DEPENDS
    )
    return Finding(
        {
            "P(orthogonal > xavier), tanh": Measured(inits[0]),
            "P(tanh > relu), orthogonal": Measured(functions[0]),
            "Var ĝ, orthogonal ÷ xavier, tanh": Measured(
                noise["orthogonal", "tanh"].value / noise["xavier", "tanh"].value
            ),
        },
        rows,
        [
            Lines(
                "Return of the evaluations",
                "steps",
                [
                    Series(" ".join(cell), *(x.tolist() for x in mean_curve(groups[cell], "return/eval")))
                    for cell in CELLS
                ],
            )
        ],
        verdict,
        "orthogonal is ahead of Xavier with probability "
        f"{format_improvement(returns['orthogonal', 'tanh'], returns['xavier', 'tanh'])} (tanh), and tanh of "
        "ReLU with "
        f"{format_improvement(returns['orthogonal', 'tanh'], returns['orthogonal', 'relu'])} (orthogonal), "
        "over "
        f"{len(returns['orthogonal', 'tanh'])} seeds of "
        f"{groups['orthogonal', 'tanh'][0].result['env_steps']:,} steps; an interval with ½ in it decides "
        "nothing.",
    )


EXPERIMENT = Experiment(
    name="initialisation",
    group="tricks",
    row=41,
    claim="Orthogonal initialisation is better than Xavier, and tanh than ReLU.",
    chinese="Orthogonal Initialization：发现比 Xavier 初始化要好。 tanh 而不是 ReLU。",
    english=("Orthogonal initialisation: found to be better than Xavier initialisation. tanh and not ReLU."),
    place="C L313–314",
    formula="W = √2 · Q (Q orthogonal)  against  W ~ U(±√(6/(in + out))),   h = tanh(Wx + b)  against  "
    "max(0, Wx + b)",
    commands=(
        "pgrun -m algo=ppo env=HalfCheetah-v5 tuned=none network.init=orthogonal,xavier "
        "network.activation=tanh,relu seed=0,1,2,3,4 state_norm=true reward_scaling=true env.num_envs=8 "
        "sampler.steps=128 algo.epochs=5 algo.minibatches=8 diagnostics.gradient_every=1 "
        "trainer.eval_every=2560 trainer.eval_episodes=2 trainer.total_steps=10240",
    ),
    read=read,
    expected={
        "P(orthogonal > xavier), tanh": Expected(low=0.0, high=1.0),
        "P(tanh > relu), orthogonal": Expected(low=0.0, high=1.0),
        "Var ĝ, orthogonal ÷ xavier, tanh": Expected(low=0.2, high=20),
    },
    verdict=Verdict.INCONCLUSIVE,
    nearby=(Verdict.SUPPORTED, Verdict.DEPENDS, Verdict.REFUTED),
    shows="The last layer starts at a hundredth in both cases, so that every policy starts near the same "
    "one; what differs are the features below it.",
    next="network.policy_gain=1, an initial policy that is not near zero; ten seeds and 1e6 steps for an "
    "answer.",
    seconds=65,
)
