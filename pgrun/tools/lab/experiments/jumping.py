from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.units import mean_in_theta, variance_in_theta

OFFSETS = (-4, 0, 10, 100)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    outcomes: dict[str, Measured] = {}
    rows = [("added to every return", "variance", "exact", "mean of the gradient", "exact")]
    for job, c in zip(commands[0], OFFSETS, strict=True):
        entry = job.result["schemes"]["none"]
        spread, mean = variance_in_theta(entry, 0.5), mean_in_theta(job.result, entry, 0.5)
        outcomes |= {f"variance, c = {c}": spread, f"mean, c = {c}": mean}
        rows.append((f"{c:+d}", str(spread), f"{exact(c):g}", str(mean), "4"))
    first, last = (outcomes[f"variance, c = {c}"] for c in (0, 100))
    steady = all(
        abs(outcomes[f"mean, c = {c}"].value - 4) < 4 * outcomes[f"mean, c = {c}"].se for c in OFFSETS
    )
    holds = steady and last.value > 100 * first.value
    curve = [outcomes[f"variance, c = {c}"] for c in OFFSETS]
    panel = Lines(
        "A constant added to every return",
        "c",
        (
            Series(
                "variance of one episode's gradient",
                OFFSETS,
                [m.value for m in curve],
                [m.se for m in curve],
                points=True,
            ),
            Series("64 + 8(c + 4)²", range(-4, 101, 4), [exact(c) for c in range(-4, 101, 4)], dashed=True),
        ),
        log_y=True,
    )
    return Finding(
        outcomes,
        rows,
        (panel,),
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"with 100 added to every return the gradient has {last.value / first.value:.0f} times the "
        f"variance, and its mean {'is the same' if steady else 'moves'}.",
    )


def exact(c: float) -> float:
    """(4θ² + 8θ + 1)/(θ(1 − θ)⁴) at θ = ½ is 192; a constant adds 2cE[‖B‖²r] + c²E‖B‖² to it."""
    return 64 + 8 * (c + 4) ** 2


EXPERIMENT = Experiment(
    name="jumping",
    group="variance",
    row=1,
    claim="A return R that jumps makes the gradient jump: only relative rewards should matter, and here "
    "they do not.",
    chinese="R 可能这次是 100，下次是 -50，再下次是 500。这意味着你的梯度向量 ∇J "
    "忽长忽短，甚至方向完全相反。…… 而且只有 reward 的相对值有价值，绝对值不太有价值。",
    english="R may be 100 this time, −50 the next, and 500 after that. So your gradient vector ∇J is now "
    "long, now short, and may even point the opposite way. … And only the relative value of the reward is "
    "worth something; its absolute value hardly is.",
    place="A L20–33; C L62",
    formula="ĝ = (Σₜ ∇log π(aₜ|sₜ)) · (r(τ) + c),   E ĝ = ∇J for every c,   Var ĝ = 64 + 8(c + 4)²  on "
    "OneState, θ = ½",
    commands=(
        "pgrun-study -m env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.kwargs.return_offset=-4,0,10,100 "
        "env.max_episode_steps=200 gamma=1 critic=none schemes=[none] batch=1 episodes=40000 "
        "env.num_envs=256",
    ),
    read=read,
    expected={f"variance, c = {c}": Expected(exact(c)) for c in OFFSETS}
    | {f"mean, c = {c}": Expected(4.0) for c in OFFSETS},
    verdict=Verdict.SUPPORTED,
    shows="The problem is the same for every c: the best policy, and the mean of the gradient, do not move. "
    "Only the noise does, like c², and the least of it is at c = −4, the best constant. The mean return "
    "is 1: adding −1 gives 136, adding nothing 192.",
    next="env.kwargs.theta=0.8 in the command; then `pgrun-lab baseline`, which takes the constant off "
    "again.",
    seconds=4,
    fast=True,
)
