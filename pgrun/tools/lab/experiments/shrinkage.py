from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows
from pgrun.tools.lab.units import mean_in_theta

BATCHES = (2, 4, 16, 64)
EXPECTED = (
    {f"mean, own mean subtracted, N = {n}": Expected(4 * (n - 1) / n) for n in BATCHES}
    | {f"mean, the others' mean subtracted, N = {n}": Expected(4.0) for n in BATCHES}
    | {
        f"variance ÷ that of the others' mean, N = {n}": Expected(((n - 1) / n) ** 2, slack=1e-9)
        for n in BATCHES
    }
)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    own: dict[str, Measured] = {}
    others: dict[str, Measured] = {}
    ratios: dict[str, Measured] = {}
    for n, job in zip(BATCHES, commands[0], strict=True):
        mean, out = (job.result["schemes"][name] for name in ("mean_baseline", "leave_one_out"))
        own[f"mean, own mean subtracted, N = {n}"] = mean_in_theta(job.result, mean, 0.5)
        others[f"mean, the others' mean subtracted, N = {n}"] = mean_in_theta(job.result, out, 0.5)
        ratios[f"variance ÷ that of the others' mean, N = {n}"] = Measured(mean["variance"] / out["variance"])
    outcomes = own | others | ratios
    series = [
        Series(label, BATCHES, [m.value for m in ms.values()], [m.se for m in ms.values()], points=True)
        for label, ms in (("minus the mean of all N", own), ("minus the mean of the other N − 1", others))
    ]
    dashed = Series("(N − 1)/N of ∇J", BATCHES, [4 * (n - 1) / n for n in BATCHES], dashed=True)
    shrunk = next(iter(own.values()))
    biased = shrunk.value < 4 - 4 * shrunk.se
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Lines(
                "Mean of the estimate (∇J = 4)", "N, episodes of one estimate", (*series, dashed), log_x=True
            ),
        ),
        Verdict.DEPENDS if biased else Verdict.SUPPORTED,
        f"subtracting the mean of the same N episodes shrinks the gradient by (N − 1)/N, to {shrunk} "
        "instead of 4 at N = 2: each episode has its own return in the mean. The direction is the same (the "
        "two estimates are multiples of each other), so that a learning rate makes up for it; without the "
        "episode's own return there is no bias at all.",
    )


EXPERIMENT = Experiment(
    name="shrinkage",
    group="baselines",
    row=6,
    claim="With the mean return of the same batch as the baseline, the gradient is unbiased.",
    chinese="取 N 条轨迹 reward 的平均值: b = 1/N Σ r(τᵢ) …… 合法性源于 E[∇log p(τ) b] = 0",
    english="Take the mean of the rewards of N trajectories: b = 1/N Σ r(τᵢ) … this is legitimate because "
    "E[∇log p(τ) b] = 0.",
    place="A L124; C L69–79",
    formula="1/N Σᵢ Bᵢ(r(τᵢ) − r̄) = (N − 1)/N · 1/N Σᵢ Bᵢ(r(τᵢ) − mean of the others),   E = (N − 1)/N ∇J",
    commands=(
        "pgrun-study -m env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.max_episode_steps=200 gamma=1 "
        "critic=none 'schemes=[mean_baseline,leave_one_out]' batch=2,4,16,64 episodes=32000 env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="The notes' proof takes b as a constant. The batch's own mean is none, since each return is in "
    "it; at N = 2 half of the gradient is lost, at 64 one part in 64.",
    next="advantage_norm=true, which divides by the batch's own deviation too: a bias that is no multiple "
    "any more.",
    seconds=6,
    fast=True,
)
