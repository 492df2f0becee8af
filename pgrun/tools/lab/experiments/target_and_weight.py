from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, mean_curve, mean_of, mean_over_seeds, rows_of_scalar, score_jobs

TARGETS = ("mc", "td_lambda", "td0")
SCHEMES = ("gae", "td0")
COMMON = (
    "env=pgrun/RandomWalk-v0 env.kwargs.states=7 env.max_episode_steps=200 gamma=0.95 sampler=episodes "
    f"network.hidden=[] critic.target={','.join(TARGETS)} seed=0,1,2 optimizer=sgd optimizer.lr=0.3 "
    "critic/optimizer=sgd critic.optimizer.lr=0.5 diagnostics.exact=true diagnostics.gradient_every=1 "
    "logger.every=1 trainer.eval_every=null trainer.total_steps=10000"
)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by([job for jobs in commands for job in jobs], "variance", "critic.target")
    noise, error, end = ({} for _ in range(3))
    for cell, jobs in groups.items():
        noise[cell] = mean_over_seeds(score_jobs(jobs, mean_of("gradient/variance", first=10)))
        error[cell] = mean_over_seeds(score_jobs(jobs, mean_of("value/error", first=10)))
        end[cell] = mean_over_seeds(
            score_jobs(jobs, lambda job: float(rows_of_scalar(job, "objective/exact")[-1]))
        )
    rows = [
        (
            "weight of the actor",
            "target of the critic",
            "variance of ĝ, first 10",
            "mean (V̂ − V)², first 10",
            "J at the end",
        )
    ]
    rows += [(s, t, str(noise[s, t]), str(error[s, t]), str(end[s, t])) for s in SCHEMES for t in TARGETS]
    free = len({round(end[cell].value, 6) for cell in end}) == len(end)
    gap = min(end["gae", t].value for t in TARGETS) - max(end["td0", t].value for t in TARGETS)
    return Finding(
        {"different results": Measured(float(len({m.value for m in end.values()})))}
        | {f"J at the end, gae with {t}": end["gae", t] for t in TARGETS},
        rows,
        [
            Lines(
                f"actor's weight: {s}",
                "steps",
                [
                    Series(
                        f"critic's target {t}",
                        *(x.tolist() for x in mean_curve(groups[s, t], "objective/exact")),
                    )
                    for t in TARGETS
                ],
            )
            for s in SCHEMES
        ],
        Verdict.SUPPORTED if free else Verdict.REFUTED,
        "each of the six pairs trains and gives another result. Here the actor's weight decides: with gae J "
        f"ends at {end['gae', 'mc'].value:.3f} (mc), {end['gae', 'td_lambda'].value:.3f} (td_lambda) and "
        f"{end['gae', 'td0'].value:.3f} (td0), with td0 at {end['td0', 'mc'].value:.3f}, "
        f"{end['td0', 'td_lambda'].value:.3f} and {end['td0', 'td0'].value:.3f}"
        + (
            ": whatever the critic is fitted to, the worst of the first is above the best of the second."
            if gap > 0
            else "."
        ),
    )


EXPERIMENT = Experiment(
    name="target_and_weight",
    group="critics",
    row=17,
    claim="What the critic is fitted to and what the actor weighs with need not be the same.",
    chinese="一个容易混的点：critic 的 target 和 actor 的 advantage 不一定必须同一种。",
    english="A point that is easily confused: the critic's target and the actor's advantage need not be of "
    "the same kind.",
    place="C L176–180",
    formula="φ: V̂(sₜ) → yₜ ∈ {Gₜ, Gλ, rₜ + γV̂(sₜ₊₁)};    θ: Ψₜ ∈ {δₜ, Σ(γλ)ᵏδₜ₊ₖ}",
    commands=(
        f"pgrun -m algo=a2c variance=gae variance.lam=0.9 {COMMON}",
        f"pgrun -m algo=a2c variance=td0 {COMMON}",
    ),
    read=read,
    expected={"different results": Expected(6.0)}
    | {f"J at the end, gae with {t}": Expected(low=0.8, high=0.8573751) for t in TARGETS},
    verdict=Verdict.SUPPORTED,
    shows="The two choices meet in V̂ alone. A V̂ that starts at random misleads an actor that looks one step "
    "ahead, and may send the walk to the wrong end; one that looks further hears of the reward itself. "
    "(Always right is J = 0.95³ = 0.857.)",
    next="optimizer.lr=0.03: an actor slow enough for the critic to be right first. critic.fit=before.",
    seconds=15,
)
