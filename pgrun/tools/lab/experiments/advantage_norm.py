from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import (
    format_improvement,
    group_by,
    improvement_over,
    mean_curve,
    mean_of,
    mean_over_seeds,
    score_jobs,
)

CRITICS = {"0": "knows nothing (V̂ = 0)", "1": "exact"}
NORM = {"true": "normalised", "false": "as they are"}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    runs = group_by(commands[0], "critic.factor", "advantage_norm")
    study = {plain[0]: jobs[0] for plain, jobs in group_by(commands[1], "advantage_norm").items()}
    returns = {cell: score_jobs(runs[cell], mean_of("objective/exact")) for cell in runs}
    mean = {cell: mean_over_seeds(-score_jobs(runs[cell], mean_of("policy/loss", first=5))) for cell in runs}
    rows = [("critic", "advantages", "their mean, first updates", "exact J, mean over the run")]
    rows += [
        (CRITICS[c], NORM[n], str(mean[c, n]), str(mean_over_seeds(returns[c, n])))
        for c in CRITICS
        for n in NORM
    ]
    along = {}
    for n in NORM:
        result = study[n].result
        entry, unit = result["schemes"]["gae"], result["reference_norm"]
        along[n] = Measured(1 + entry["bias_along"] / unit, entry["bias_se"] / unit)
        told = f"mean of ĝ along ∇J {along[n]} of ‖∇J‖"
        rows.append(("V̂ = 0, frozen policy", NORM[n], told, f"mean cosine with ∇J {entry['cosine']:.3f}"))
    gain = {c: improvement_over(returns[c, "true"], returns[c, "false"]) for c in CRITICS}
    helps, needed = gain["0"][1] > 0.5, gain["1"][1] > 0.5
    verdict = Verdict.INCONCLUSIVE if not helps else Verdict.DEPENDS if needed else Verdict.SUPPORTED
    if gain["0"][2] < 0.5:
        verdict = Verdict.REFUTED
    return Finding(
        {
            "V̂ = 0: P(normalised > as they are)": Measured(gain["0"][0]),
            "V̂ = 0: mean of the advantages, normalised ÷ not": Measured(
                mean["0", "true"].value / mean["0", "false"].value
            ),
            "mean of the normalised gradient along ∇J ÷ ‖∇J‖": along["true"],
        },
        rows,
        [
            Lines(
                f"critic: {name}",
                "steps",
                [
                    Series(NORM[n], *(x.tolist() for x in mean_curve(runs[c, n], "objective/exact")))
                    for n in NORM
                ],
            )
            for c, name in CRITICS.items()
        ],
        verdict,
        "with a critic that knows nothing, normalising is ahead with probability "
        f"{format_improvement(returns['0', 'true'], returns['0', 'false'])}: advantages of mean "
        f"{mean['0', 'false'].value:.1f} come to lie around 0. With the exact critic it is ahead with "
        f"probability {format_improvement(returns['1', 'true'], returns['1', 'false'])}. The normalised "
        "estimate is one "
        f"of ∇J no more: {along['true'].value:.4f} of its length, in units of σ, where the plain one has "
        f"{along['false'].value:.2f}.",
    )


EXPERIMENT = Experiment(
    name="advantage_norm",
    group="tricks",
    row=39,
    claim="Normalising advantages helps while the value function is not trained yet: it brings them to lie "
    "around 0.",
    chinese="在训练时将优势归一化，当 value function 没有训练好的时候帮助将 A_t 在 0 周围分布。",
    english="Normalise the advantages in training; while the value function is not yet well trained, this "
    "helps to bring A_t to be distributed around 0.",
    place="C L307–310",
    formula="Aₜ ← (Aₜ − μ_A)/√(σ_A² + ε),   with V̂ = 0 · V and V̂ = 1 · V",
    commands=(
        "pgrun -m algo=ppo env=CliffWalking-v1 env.max_episode_steps=100 tuned=none critic=scaled "
        "critic.factor=0,1 advantage_norm=true,false seed=0,1,2 network.hidden=[32] optimizer.lr=1e-2 "
        "optimizer.max_grad_norm=null diagnostics.exact=true diagnostics.gradient_every=0 "
        "trainer.eval_every=null trainer.total_steps=20480",
        "pgrun-study -m env=CliffWalking-v1 env.max_episode_steps=100 gamma=0.99 critic=scaled "
        "critic.factor=0 schemes=[gae] advantage_norm=true,false episodes=1000 batch=10",
    ),
    read=read,
    expected={
        "V̂ = 0: P(normalised > as they are)": Expected(low=0.6),
        "V̂ = 0: mean of the advantages, normalised ÷ not": Expected(low=-0.2, high=0.2),
        "mean of the normalised gradient along ∇J ÷ ‖∇J‖": Expected(low=0.0, high=0.5),
    },
    verdict=Verdict.DEPENDS,
    nearby=(Verdict.SUPPORTED,),
    shows="Every step costs 1 here, so that without a baseline every advantage is negative, and every action "
    "taken is pushed away. The mean over the batch is a baseline; dividing by σ changes nothing for "
    "Adam, and the unit of everything else.",
    next="optimizer=sgd, where σ matters too; env=FrozenLake-v1, whose returns are 0 or 1.",
    seconds=25,
)
