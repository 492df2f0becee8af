from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import variance_in_theta

BATCH = 100
NAMES = {
    "none": "no baseline",
    "leave_one_out": "mean of the others",
    "optimal_baseline": "b*, estimated",
    "optimal_baseline returns=reward_to_go": "b* of reward-to-go",
    "value_baseline": "V(s), reward-to-go",
}


def estimating(to_go: bool) -> float:
    """What b̂ from N − 1 others adds to the variance that b* leaves: (Var(h)Var(B) + E[hB]²)/(N − 1),
    h = (X − b*B)B/E B², by episode lengths.
    """
    length = np.arange(1, 400)
    p = 0.5**length
    b = (length - 1) / 0.5 - 1 / 0.5
    x = length * (length - 1) / 2 / 0.5 if to_go else (length - 1) * b
    squares = (p * b**2).sum()
    h = (x - (p * x * b).sum() / squares * b) * b / squares
    return float((p * h**2).sum() * squares + (p * h * b).sum() ** 2) / (BATCH - 1)


EXPECTED = {
    "no baseline": Expected(192.0),
    "mean of the others": Expected(136 + 32 / (BATCH - 1)),
    "b*, estimated": Expected(64 + estimating(False)),
    "b* of reward-to-go": Expected(16 + estimating(True)),
    "V(s), reward-to-go": Expected(48.0),
    "gain of b* over the mean, SmallMDP": Expected(low=0.9, high=1.3),
    "time of b* ÷ time of the mean": Expected(low=0.3, high=20.0),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    one, small = (jobs[0].result for jobs in commands)
    outcomes = {label: variance_in_theta(one["schemes"][name], 0.5, BATCH) for name, label in NAMES.items()}
    mean, best = (small["schemes"][name] for name in ("leave_one_out", "optimal_baseline"))
    gain = mean["variance"] / best["variance"]
    outcomes["gain of b* over the mean, SmallMDP"] = Measured(
        gain, gain * (mean["variance_se"] / mean["variance"])
    )
    outcomes["time of b* ÷ time of the mean"] = Measured(best["microseconds"] / mean["microseconds"])
    lowest = outcomes["b*, estimated"].value < outcomes["mean of the others"].value
    worth = gain > 1.2
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            outcome_bars(
                "Variance per episode, OneState", "variance", outcomes, EXPECTED, list(NAMES.values())
            ),
        ),
        Verdict.REFUTED if not lowest else Verdict.DEPENDS if worth else Verdict.SUPPORTED,
        f"b* is the best constant ({outcomes['b*, estimated'].value:.0f} against "
        f"{outcomes['mean of the others'].value:.0f} for the mean), for "
        f"{outcomes['time of b* ÷ time of the mean'].value:.1f} times the time of the mean; on a random "
        f"problem it gains a factor of {gain:.2f} only, and a baseline that knows the state, V(s) with "
        f"reward-to-go, needs no such weighting ({outcomes['V(s), reward-to-go'].value:.0f}).",
    )


EXPERIMENT = Experiment(
    name="best_constant",
    group="baselines",
    row=7,
    claim="The best constant is E[‖B‖²r]/E‖B‖², but in practice it is seldom used: not worth the trouble.",
    chinese="不过在实际操作中，很少用这个。虽然这个公式是理论最优，但在深度强化学习中计算这个加权平均太麻烦了。",
    english="In practice, though, this is seldom used. The formula is optimal in theory, but in deep "
    "reinforcement learning it is too much trouble to compute this weighted mean.",
    place="A L126–128; C L80",
    formula="b* = E[‖B‖² r]/E‖B‖², B = Σₜ ∇log π(aₜ|sₜ);   with reward-to-go the general b* = E[X·B]/E‖B‖², "
    "X = Σₜ gₜGₜ",
    commands=(
        "pgrun-study env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.max_episode_steps=200 gamma=1 "
        "critic=exact 'schemes=[none,leave_one_out,optimal_baseline,"
        "{optimal_baseline:{returns:reward_to_go}},value_baseline]' batch=100 episodes=100000 "
        "env.num_envs=256",
        "pgrun-study env=pgrun/SmallMDP-v0 gamma=1 policy.ascent=0.5 critic=exact "
        "'schemes=[leave_one_out,optimal_baseline,value_baseline]' batch=100 episodes=40000 env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="The formula is right, and estimating b* from the other episodes costs little variance and "
    "microseconds. Its gain over the mean depends on the problem, while a value function gains more and "
    "is needed for everything that follows.",
    next="{optimal_baseline:{kind:per_parameter}} in the list of schemes: a constant for each parameter.",
    seconds=15,
    fast=True,
)
