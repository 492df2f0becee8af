from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars, Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.units import mean_in_theta, variance_in_theta

OFFSETS = (-4, 0, 10, 100)
BATCH = 20
FLAT = 136 + 32 / (
    BATCH - 1
)  # Var(ρB) + (σ_r²σ_B² + ‖∇J‖²)/(N − 1), ρ = r − E r, the second for a mean of the N − 1 others


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    outcomes: dict[str, Measured] = {}
    rows = [
        (
            "added to every return",
            "no baseline",
            "exact",
            "minus the others' mean",
            "exact",
            "its mean",
            "exact",
        )
    ]
    for job, c in zip(commands[0], OFFSETS, strict=True):
        none, other = (job.result["schemes"][name] for name in ("none", "leave_one_out"))
        plain, less = (variance_in_theta(entry, 0.5, BATCH) for entry in (none, other))
        mean = mean_in_theta(job.result, other, 0.5)
        outcomes |= {f"none, c = {c}": plain, f"leave_one_out, c = {c}": less, f"its mean, c = {c}": mean}
        rows.append(
            (f"{c:+d}", str(plain), f"{64 + 8 * (c + 4) ** 2:g}", str(less), f"{FLAT:.4g}", str(mean), "4")
        )
    without, with_it = ([outcomes[f"{name}, c = {c}"] for c in OFFSETS] for name in ("none", "leave_one_out"))
    flat = max(m.value for m in with_it) < 1.2 * min(m.value for m in with_it)
    same = all(
        abs(outcomes[f"its mean, c = {c}"].value - 4) < 4 * outcomes[f"its mean, c = {c}"].se for c in OFFSETS
    )
    worse = [c for c, a, b in zip(OFFSETS, without, with_it, strict=True) if a.value < b.value]
    verdict = Verdict.REFUTED if not (flat and same) else Verdict.DEPENDS if worse else Verdict.SUPPORTED
    return Finding(
        outcomes,
        rows,
        draw_offsets(commands[0], without, with_it),
        verdict,
        f"with the mean of the others subtracted the variance is {with_it[1].value:.0f} whatever is added "
        f"to the returns (without: {without[0].value:.0f} to {without[-1].value:.0f}), and the gradient "
        "keeps its mean; it does not help where the returns happen to lie well already (c = "
        f"{', '.join(map(str, worse))}), since the mean is not the best constant.",
    )


def draw_offsets(
    jobs: Sequence[JobResult], without: Sequence[Measured], with_it: Sequence[Measured]
) -> tuple[Lines, Bars]:
    curves = [
        Series(label, OFFSETS, [m.value for m in ms], [m.se for m in ms])
        for label, ms in (("no baseline", without), ("minus the mean of the other episodes", with_it))
    ]
    cosines = [
        Bar(f"c = {c}, {label}", job.result["schemes"][name]["cosine"])
        for c, job in zip(OFFSETS, jobs, strict=True)
        for label, name in (("no baseline", "none"), ("baseline", "leave_one_out"))
    ]
    return (
        Lines("Variance of the gradient, per episode", "c, added to every return", curves, log_y=True),
        Bars(
            f"Does it point the right way? ({BATCH} episodes)",
            "mean cosine with ∇J: 1 always, 0 a coin's toss",
            cosines,
        ),
    )


EXPERIMENT = Experiment(
    name="baseline",
    group="baselines",
    row=1,
    claim="Subtracting the mean return leaves the gradient unbiased and keeps the size of the rewards out "
    "of it.",
    chinese="还有方法就是给奖励设置baseline，控制奖励在一定范围内波动，最常见的应该是baseline设置为奖励的平均值。同时我们也可以计算这个变化也是无偏的。",
    english="Another way is to give the reward a baseline, so that the reward fluctuates within a certain "
    "range; the most common one is probably the mean of the rewards. We can also compute that this change "
    "is unbiased.",
    place="A L124; C L62, L70–79",
    formula="ĝ = 1/N Σᵢ (Σₜ ∇log π(aₜ|sₜ)) · (r(τᵢ) − b),   E[∇log p(τ) b] = b ∇∫p(τ)dτ = 0",
    commands=(
        "pgrun-study -m env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.kwargs.return_offset=-4,0,10,100 "
        f"env.max_episode_steps=200 gamma=1 critic=none schemes=[none,leave_one_out] batch={BATCH} "
        "episodes=60000 env.num_envs=256",
    ),
    read=read,
    expected={f"none, c = {c}": Expected(64 + 8 * (c + 4) ** 2) for c in OFFSETS}
    | {f"leave_one_out, c = {c}": Expected(FLAT) for c in OFFSETS}
    | {f"its mean, c = {c}": Expected(4.0) for c in OFFSETS},
    verdict=Verdict.DEPENDS,
    shows="If every return is positive, every action that was taken is pushed up, the better ones a little "
    "more: the direction is decided by what happened to be sampled. Less the mean, what did worse than "
    "usual is pushed down. The right picture is what an update sees of it.",
    next="env.kwargs.theta=0.2 in the command; `pgrun-lab best_constant` for the constant that is better "
    "than the mean; `pgrun-lab shrinkage` for the mean that includes the episode itself.",
    seconds=6,
    fast=True,
)
