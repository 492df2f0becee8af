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
    score_jobs,
)

CELLS = {
    ("true", "true"): "both",
    ("false", "true"): "without state norm",
    ("true", "false"): "without reward scaling",
    ("false", "false"): "neither",
}

ENOUGH = 1_000_000  # steps: before that no PPO works on HalfCheetah, whatever its practices


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "state_norm", "reward_scaling")
    returns = {cell: score_jobs(groups[cell], mean_eval_return) for cell in CELLS}
    both = returns["true", "true"]
    rows = [("", "IQM of evaluations (95 %)", "both better than it, P (95 %)")]
    rows += [
        (
            name,
            format_iqm(returns[cell]),
            "" if cell == ("true", "true") else format_improvement(both, returns[cell]),
        )
        for cell, name in CELLS.items()
    ]
    against = {cell: improvement_over(both, returns[cell]) for cell in list(CELLS)[1:]}
    ahead = [CELLS[cell] for cell, (_, low, _) in against.items() if low > 0.5]
    behind = [CELLS[cell] for cell, (_, _, high) in against.items() if high < 0.5]
    steps = groups["true", "true"][0].result["env_steps"]
    verdict = Verdict.INCONCLUSIVE
    if steps >= ENOUGH and (ahead or behind):
        verdict = (
            Verdict.SUPPORTED
            if len(ahead) == 3
            else Verdict.REFUTED
            if behind and not ahead
            else Verdict.DEPENDS
        )
    said = [f"it is ahead of {', '.join(ahead)}"] * bool(ahead) + [
        f"it is behind {', '.join(behind)}"
    ] * bool(behind)
    return Finding(
        {f"P(both > {CELLS[cell]})": Measured(p) for cell, (p, _, _) in against.items()},
        rows,
        [
            Lines(
                "Return of the evaluations",
                "steps",
                [
                    Series(name, *(x.tolist() for x in mean_curve(groups[cell], "return/eval")))
                    for cell, name in CELLS.items()
                ],
            )
        ],
        verdict,
        f"{'so short a run decides nothing of a PPO that works: ' * (steps < ENOUGH)}with both, "
        f"{' and '.join(said) or 'none is ahead'} ({len(both)} seeds, {steps:,} steps): "
        f"both {both.mean():.0f}, "
        + ", ".join(f"{CELLS[cell]} {returns[cell].mean():.0f}" for cell in list(CELLS)[1:])
        + ".",
    )


EXPERIMENT = Experiment(
    name="practice",
    group="tricks",
    row=40,
    claim="State normalisation and reward scaling belong to a PPO that works.",
    chinese="State normalization：跟 batch-norm 很像，需要维护 running mean。 Reward scaling",
    english=("State normalisation: much like batch norm, it needs a running mean. Reward scaling."),
    place="C L311–312",
    formula="s ← (s − running mean)/running σ,   r ← r / running σ of the discounted return;   leave one out",
    commands=(
        "pgrun -m algo=ppo env=HalfCheetah-v5 tuned=none state_norm=true,false reward_scaling=true,false "
        "seed=0,1,2 env.num_envs=8 sampler.steps=128 algo.epochs=5 algo.minibatches=8 "
        "diagnostics.gradient_every=0 trainer.eval_every=4096 trainer.eval_episodes=2 "
        "trainer.total_steps=12288",
    ),
    read=read,
    expected={f"P(both > {name})": Expected(low=0.0, high=1.0) for name in list(CELLS.values())[1:]},
    verdict=Verdict.INCONCLUSIVE,
    shows="These are the first steps of HalfCheetah, where running statistics are still on the move, and "
    "three seeds of them: what pays at a million steps they do not say.",
    next="trainer.total_steps=1e6 and ten seeds, overnight; experiment=ablate, which leaves out one "
    "practice after the other.",
    seconds=35,
)
