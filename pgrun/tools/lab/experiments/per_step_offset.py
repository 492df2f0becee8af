from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Verdict
from pgrun.tools.lab.tables import outcome_rows
from pgrun.tools.lab.units import mean_in_theta

OFFSETS = (-0.5, 0, 1, 10)
TRUE = 4.0  # 1/(1 − θ)² at θ = ½
EXPECTED = {f"reward {c:+g} at every step": Expected((1 + c) * TRUE) for c in OFFSETS}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    jobs = commands[0]
    outcomes = {
        label: mean_in_theta(job.result, job.result["schemes"]["leave_one_out"], 0.5)
        for label, job in zip(EXPECTED, jobs, strict=True)
    }
    means = [m.value for m in outcomes.values()]
    moved = any(abs(m.value - TRUE) > 4 * m.se for m in outcomes.values())
    panel = Lines(
        "Mean of the gradient",
        "c, added to the reward of every step",
        (
            Series(
                "measured, with the mean return subtracted",
                OFFSETS,
                means,
                [m.se for m in outcomes.values()],
                points=True,
            ),
            Series("(1 + c)·∇J", OFFSETS, [(1 + c) * TRUE for c in OFFSETS], dashed=True),
        ),
    )
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "what is added"),
        (panel,),
        Verdict.REFUTED if moved else Verdict.SUPPORTED,
        f"a constant added to each step's reward multiplies the gradient, from {means[0]:.3g} to "
        f"{means[-1]:.3g} here, since longer episodes collect it more often. It is harmless when it is "
        "added to, or subtracted from, the whole return (`pgrun-lab jumping`).",
    )


EXPERIMENT = Experiment(
    name="per_step_offset",
    group="variance",
    row=1.5,
    claim="Adding or subtracting a constant never changes what is learned, also where it is added to every "
    "reward.",
    chinese="而且只有 reward 的相对值有价值，绝对值不太有价值。…… 所以加减常数是完全不影响正确性的。",
    english="And only the relative value of the reward is worth something; its absolute value hardly is. … "
    "So adding or subtracting a constant does not affect correctness at all.",
    place="C L62, L79",
    formula="r'ₜ = rₜ + c:   J' = E Σₜ (rₜ + c) = J + c·E[steps],   which depends on θ wherever the length "
    "of an episode does",
    commands=(
        "pgrun-study -m env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.kwargs.reward_offset=-0.5,0,1,10 "
        "env.max_episode_steps=200 gamma=1 critic=none 'schemes=[leave_one_out]' batch=20 episodes=40000 "
        "env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="Here an episode lasts as long as rewards come in, so that the constant is paid for staying. No "
    "baseline takes it off again: it is another problem. With c = −1 staying is worth nothing, and the "
    "gradient is 0.",
    next="env.kwargs.reward_offset=-2: what does the best policy do now?",
    seconds=4,
    fast=True,
)
