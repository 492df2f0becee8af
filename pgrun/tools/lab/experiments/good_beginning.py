from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows

STEPS = 9  # odd, so that no return is the mean itself
NAMES = {
    "leave_one_out": "whole return − mean",
    "value_baseline": "reward-to-go − V",
    "advantage": "advantage",
}


def below(left: int) -> float:
    """P(1 + Bin(left − 1, ½) < left/2): a good action is followed by so much bad luck that the sum is below
    what is usual.
    """
    ways = sum(comb(left - 1, k) for k in range(left) if 1 + k < left / 2)
    chance: float = ways / 2 ** (left - 1)
    return chance


EXACT = {
    "whole return − mean": [below(STEPS)] * STEPS,
    "reward-to-go − V": [below(STEPS - t) for t in range(STEPS)],
    "advantage": [0.0] * STEPS,
}
EXPECTED = {
    f"{label}, {when} action": Expected(EXACT[label][t])
    for label in NAMES.values()
    for when, t in (("first", 0), ("last", STEPS - 1))
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    by_step = commands[0][0].result["by_step"]
    shares = {
        label: [share_of_wrong_signs(by_step[name], t) for t in range(STEPS)] for name, label in NAMES.items()
    }
    outcomes = {
        f"{label}, {when} action": shares[label][t]
        for label in NAMES.values()
        for when, t in (("first", 0), ("last", STEPS - 1))
    }
    first, to_go = outcomes["whole return − mean, first action"], outcomes["reward-to-go − V, first action"]
    punished = first.value > 4 * first.se
    mended = to_go.value < first.value - 4 * (first.se + to_go.se)
    series = [
        Series(label, range(STEPS), [m.value for m in ms], [m.se for m in ms]) for label, ms in shares.items()
    ]
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "good actions with a negative weight"),
        (Lines("Share of good actions that are punished", "time step", series),),
        Verdict.REFUTED if not punished else Verdict.SUPPORTED if mended else Verdict.DEPENDS,
        f"a good first action gets a negative weight in {100 * first.value:.0f} % of episodes under the "
        f"whole return, but in as many ({100 * to_go.value:.0f} %) under reward-to-go, where all that comes "
        "later still counts. Reward-to-go mends the other end: the last action is then judged by itself "
        "alone. The advantage judges every action by itself.",
    )


def share_of_wrong_signs(by: Mapping[str, Any], t: int) -> Measured:
    p, n = by["good_wrong"][t], by["good"][t]
    return Measured(p, (max(p * (1 - p), 1 / n) / n) ** 0.5)


EXPERIMENT = Experiment(
    name="good_beginning",
    group="reward_to_go",
    row=5,
    claim="The whole return punishes a good beginning that goes bad later, and reward-to-go mends that.",
    chinese="用一局的总回报更新每个动作：一开始好但后面坏掉的局面",
    english="Updating every action with the total return of a game: the case that begins well and goes bad "
    "later.",
    place="C L61, L64–68",
    formula="T = 9 steps, reward 1 for action 1, π = ½:   P(1 + Bin(8, ½) < 9/2) = 36 % for the first "
    "action, with r(τ) − J as with G₁ − V",
    commands=(
        "pgrun-study env=pgrun/FixedHorizon-v0 env.kwargs.T=9 gamma=1 policy.theta=0.5 critic=exact "
        "'schemes=[leave_one_out,value_baseline,advantage]' by_step=9 batch=500 episodes=20000 "
        "env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="What reward-to-go takes away from an action's weight is the past. A beginning has none, so its "
    "weight is the same; what is mended is a good *end* after a bad beginning. To judge a beginning, a "
    "critic must say what its state was worth. (The zigzag: with an even number of steps left the sum "
    "can be just as usual, which is no punishment.)",
    next="env=CliffWalking-v1 policy.ascent=0.5 in the command, without env.kwargs.T: falls come late "
    "there, and the early good actions are blamed.",
    seconds=6,
    fast=True,
)
