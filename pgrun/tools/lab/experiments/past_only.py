from __future__ import annotations

from collections.abc import Sequence

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import mean_in_theta

THETA, BETA = 0.6, 0.5
TRUE = 1 / (1 - THETA) ** 2
MEANS = {
    "trajectory": TRUE,
    "per_decision": TRUE,
    "past_only": 1 / ((1 - THETA) * (1 - BETA)),
    "per_step": 1 / (1 - BETA) ** 2,
}
EXPECTED = {name: Expected(v) for name, v in MEANS.items()}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    result = commands[0][0].result
    outcomes: dict[str, Measured] = {
        name: mean_in_theta(result, result["schemes"][name], THETA) for name in MEANS
    }
    past = outcomes["past_only"]
    wrong = abs(past.value - TRUE) > 4 * past.se
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "mean of the gradient"),
        (
            outcome_bars(
                f"Mean of the gradient (∇J = {TRUE:g})",
                "mean, with 95 % interval",
                outcomes,
                EXPECTED,
                list(MEANS),
            ),
        ),
        Verdict.REFUTED if wrong else Verdict.SUPPORTED,
        f"without the weights of what follows the mean is {past} instead of {TRUE:g}: it belongs to the new "
        "policy's states and actions, but to the *old* policy's Q. Weighing each reward by what led to it "
        f"(per_decision) is {outcomes['per_decision']}, unbiased.",
    )


EXPERIMENT = Experiment(
    name="past_only",
    group="off_policy",
    row=23.5,
    claim="Future actions do not affect the weight of an action: the product of the later ratios can be "
    "left out.",
    chinese='PPT 用箭头指出："future actions don\'t affect current weight"。…… 右边的部分忽视掉',
    english="The slide points out with an arrow: “future actions don't affect current weight”. … The part "
    "on the right is left out.",
    place="A L214–227; C L234–239",
    formula="E_β[Σₜ gₜ ∏_{k≤t} ρₖ Gₜ] = E_θ[Σₜ gₜ Q^β(sₜ, aₜ)];   OneState:   1/((1 − θ)(1 − β)) instead of "
    "1/(1 − θ)²",
    commands=(
        "pgrun-study env=pgrun/OneState-v0 env.kwargs.theta=0.6 behaviour.theta=0.5 "
        "env.max_episode_steps=200 gamma=1 'weights=[trajectory,per_decision,past_only,per_step]' batch=10 "
        "episodes=100000 env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="What may be left out are the weights of actions *after the reward* in question (per_decision), "
    "not those between the action and the reward. The notes call the rest a step of policy iteration, "
    "which is what it is: an approximation, good while the two policies are near.",
    next="behaviour.theta=0.58: how near is near enough?",
    seconds=6,
    fast=True,
)
