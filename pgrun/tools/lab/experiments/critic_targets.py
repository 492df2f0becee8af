from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import (
    Groups,
    group_by,
    mean_curve,
    mean_of,
    mean_over_seeds,
    rows_of_scalar,
    score_jobs,
)

TARGETS = ("mc", "n_step", "td_lambda", "td0")
EARLY, LATE = slice(0, 5), slice(-20, None)  # updates


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    groups = group_by(commands[0], "critic.target")
    noise = {t: mean_over_seeds(score_jobs(groups[t,], mean_of("value/target_variance"))) for t in TARGETS}
    bias = {t: mean_over_seeds(score_jobs(groups[t,], mean_of("value/target_bias"))) for t in TARGETS}
    early = {t: mean_over_seeds(score_jobs(groups[t,], size_of_bias(EARLY))) for t in TARGETS}
    late = {t: mean_over_seeds(score_jobs(groups[t,], size_of_bias(LATE))) for t in TARGETS}
    error = {t: mean_over_seeds(score_jobs(groups[t,], mean_of("value/error", skip=-20))) for t in TARGETS}
    rows: list[tuple[str, ...]] = [
        (
            "target",
            "variance in a state",
            "a batch is off by, first 5",
            "last 20 updates",
            "mean (V̂ − V)², last 20",
        )
    ]
    rows += [(t, *(str(m[t]) for m in (noise, early, late, error))) for t in TARGETS]
    times = noise["mc"].value / noise["td0"].value
    unbiased = abs(bias["mc"].value) < 4 * bias["mc"].se
    holds = times > 2 and unbiased and early["td0"].value > 2 * early["mc"].value
    better = [t for t in TARGETS[1:] if error[t].value < error["mc"].value]
    return Finding(
        {
            "variance of the target, mc ÷ td0": Measured(times),
            "bias of mc": bias["mc"],
            "early size of bias, td0 ÷ mc": Measured(early["td0"].value / early["mc"].value),
            "size of bias of td0, late ÷ early": Measured(late["td0"].value / early["td0"].value),
        },
        rows,
        draw_targets(groups),
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"Monte Carlo targets have {times:.1f} times the variance of TD(0)'s and no bias ({bias['mc']}); "
        f"TD(0)'s are off by {early['td0'].value:.2f} at first, while V̂ is wrong, and by "
        f"{late['td0'].value:.2f} once it is not. 'Very unstable' it is not: V̂ comes down to an error of "
        f"{error['mc'].value:.4f} all the same; {', '.join(better) or 'none of the others'} ended lower "
        f"({len(groups['mc',])} seeds).",
    )


def size_of_bias(rows: slice) -> Callable[[JobResult], float]:
    """√(mean bias²) over some updates: it has no sign of its own, since V̂ starts at random."""

    def of(job: JobResult) -> float:
        return float(np.sqrt(np.mean(rows_of_scalar(job, "value/target_bias")[rows] ** 2)))

    return of


def draw_targets(groups: Groups) -> list[Lines]:
    targets = []
    for title, tag in (
        ("Variance of the target within a state", "value/target_variance"),
        ("Error of the critic", "value/error"),
    ):
        series = [Series(t, *(x.tolist() for x in mean_curve(groups[t,], tag))) for t in TARGETS]
        targets.append(Lines(title, "steps", series, log_y=True))
    return targets


EXPERIMENT = Experiment(
    name="critic_targets",
    group="critics",
    row=9,
    claim="A critic fitted to Monte Carlo returns is unbiased but very unstable; bootstrapped targets have "
    "less variance, and a bias.",
    chinese="这个本质上就是 N=1 的 Monte Carlo 估计，虽然无偏但是训练非常不稳定。…… 这样子可以显著降低方差 "
    "但是由于 V̂ 是网络估计出来的值，所以引入了偏差。",
    english="In essence this is a Monte Carlo estimate with N = 1: unbiased, but the training is very "
    "unstable. … This can lower the variance markedly, but since V̂ is estimated by a network, it brings in "
    "a bias.",
    place="C L97–102",
    formula="yₜ = Gₜ  (mc),   rₜ + γV̂(sₜ₊₁)  (td0),   n steps or a λ-mixture of them between; "
    "value/target_variance = mean of Var(y | s), value/target_bias = mean of y − V(s), value/error = "
    "mean of (V̂ − V)², V exact",
    commands=(
        "pgrun -m algo=a2c env=pgrun/RandomWalk-v0 env.max_episode_steps=200 gamma=1 sampler=episodes "
        f"network.hidden=[] critic.target={','.join(TARGETS)} variance.lam=0.8 seed=0,1,2,3,4 optimizer=sgd "
        "optimizer.lr=1e-9 critic/optimizer=sgd critic.optimizer.lr=0.5 diagnostics.exact=true "
        "diagnostics.gradient_every=0 logger.every=1 trainer.eval_every=null trainer.total_steps=10000",
    ),
    read=read,
    expected={
        "variance of the target, mc ÷ td0": Expected(low=2),
        "bias of mc": Expected(0.0),
        "early size of bias, td0 ÷ mc": Expected(low=2),
        "size of bias of td0, late ÷ early": Expected(high=0.4),
    },
    verdict=Verdict.SUPPORTED,
    shows="The policy stands still (a learning rate of 1e-9), so that V is one and the same all along: only "
    "the targets differ. TD(0) leans on a V̂ that starts at random; its bias dies out as V̂ learns, the "
    "variance of Monte Carlo stays.",
    next="env.kwargs.states=15, where it takes long until the reward is heard of at the other end; "
    "critic.optimizer.lr=0.05.",
    seconds=12,
)
