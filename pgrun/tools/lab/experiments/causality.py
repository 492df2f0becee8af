from __future__ import annotations

from collections.abc import Sequence

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import mean_in_theta, variance_in_theta

EXPECTED = {
    "variance, whole return": Expected(192.0),
    "variance, reward-to-go": Expected(88.0),
    "mean, whole return": Expected(4.0),
    "mean, reward-to-go": Expected(4.0),
}
NAMES = {"none": "whole return", "reward_to_go": "reward-to-go"}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    result = commands[0][0].result
    outcomes: dict[str, Measured] = {}
    for name, label in NAMES.items():
        outcomes[f"variance, {label}"] = variance_in_theta(result["schemes"][name], 0.5)
    for name, label in NAMES.items():
        outcomes[f"mean, {label}"] = mean_in_theta(result, result["schemes"][name], 0.5)
    whole, less = outcomes["variance, whole return"], outcomes["variance, reward-to-go"]
    same = all(
        abs(outcomes[f"mean, {label}"].value - 4) < 4 * outcomes[f"mean, {label}"].se
        for label in NAMES.values()
    )
    lower = whole.value - less.value > 4 * (whole.se + less.se)
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            outcome_bars(
                "Variance of one episode's gradient", "variance", outcomes, EXPECTED, list(EXPECTED)[:2]
            ),
        ),
        Verdict.SUPPORTED if same and lower else Verdict.REFUTED,
        f"reward-to-go takes the variance from {whole.value:.0f} to {less.value:.0f} here and leaves the "
        "mean where it was. That it *must* fall is another claim: `pgrun-lab conserved`.",
    )


EXPERIMENT = Experiment(
    name="causality",
    group="reward_to_go",
    row=4,
    claim="An action affects later rewards only: counting those alone is unbiased and has less variance.",
    chinese="显然的是当前的动作只会影响未来的奖励，不会影响之前的奖励 …… "
    "不会改变梯度的期望值（保持无偏），但因为少加了一堆随机数（r_past "
    "在不同轨迹中波动很大），所以显著降低了方差。",
    english="Obviously the present action can only affect future rewards, and not earlier ones … this does "
    "not change the expected value of the gradient (it stays unbiased), but since a pile of random numbers "
    "is added less (r_past fluctuates strongly between trajectories), it lowers the variance markedly.",
    place="A L38–40, L120; C L64–68",
    formula="ĝ = Σₜ ∇log π(aₜ|sₜ) Σ_{t'≥t} r_{t'}\nOneState: (4θ² + 8θ + 1)/(θ(1 − θ)⁴) → (θ² + 3θ + "
    "1)/(θ(1 − θ)⁴),   192 → 88 at θ = ½",
    commands=(
        "pgrun-study env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.max_episode_steps=200 gamma=1 "
        "critic=none 'schemes=[none,reward_to_go]' batch=1 episodes=80000 env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="In OneState every step earns 1 until the end. Without causality the last action is credited with "
    "everything earned before it.",
    next="env.kwargs.theta=0.9: longer episodes, a longer past, a larger difference (the two formulas say "
    "how large).",
    seconds=4,
    fast=True,
)
