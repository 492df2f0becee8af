from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult, only_result
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows

EXPECTED = {
    "one step: Σ_τ": Expected(0.0, slack=1e-9),
    "ten steps: Σ_τ": Expected(39.69, slack=1e-6),
    "ten steps: Σ_a, Ψ = G − V": Expected(6.72, slack=1e-6),
    "ten steps: Σ_a, Ψ = G − Q, corrected": Expected(0.0, slack=1e-9),
    "ten steps: Σ_τ, Ψ = G − Q, corrected": Expected(39.69, slack=1e-6),
    "one step: what Q takes off G − V": Expected(1.0, slack=1e-6),
    "ten steps: what Q takes off G − V": Expected(0.1448, slack=1e-4),
    "ten steps: Σ_a + Σ_τ of all actions": Expected(0.0, slack=1e-9),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    parts = [only_result(jobs).result["decompose"]["schemes"] for jobs in commands]
    one, ten = (by["value_baseline"] for by in parts)
    corrected, every = parts[1]["action_baseline"], parts[1]["all_actions"]
    shares = [1 - by["action_baseline"]["total"] / by["value_baseline"]["total"] for by in parts]
    numbers = (
        *(one["rest"], ten["rest"], ten["action"], corrected["action"], corrected["rest"]),
        *(*shares, every["action"] + every["rest"]),
    )
    outcomes = {label: Measured(x) for label, x in zip(EXPECTED, numbers, strict=True)}
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "of a step's term"),
        (
            Bars(
                "What is left of the variance, ten steps",
                "Σ_s + Σ_a + Σ_τ",
                [Bar(label, part["total"]) for label, part in parts[1].items()],
            ),
        ),
        Verdict.DEPENDS if shares[0] > 0.99 and shares[1] < 0.5 else Verdict.REFUTED,
        f"of one step it takes all that V leaves, of ten {100 * shares[1]:.0f} %: what happens after the "
        f"action is {outcomes['ten steps: Σ_τ']} of {ten['total']:.4g}, and no baseline reaches that.",
    )


SCHEMES = "'schemes=[reward_to_go,value_baseline,action_baseline,q,all_actions]' batch=2 episodes=4"
EXPERIMENT = Experiment(
    name="what_is_left",
    group="baselines",
    row=8,
    claim="A baseline that depends on the action lowers the variance far below what V leaves.",
    place="Gu et al. 2017; Tucker et al. 2018, §3",
    formula="Var x = Σ_s + Σ_a + Σ_τ;   b(s): Σ_a changes;   b(s, a), given back: Σ_a → 0 at b = Q;   Σ_τ "
    "stays",
    commands=tuple(
        f"pgrun-study env=pgrun/FixedHorizon-v0 env.kwargs.T={steps} gamma=1 policy.theta=0.3 critic=exact "
        f"{SCHEMES} decompose.by=exact"
        for steps in (1, 10)
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="The parts are exact: all 1024 episodes are summed over. With π(0) = 0.3, T²·E‖∇log π‖²·Var[later "
    "rewards] = 100·0.42·0.21·4.5 is the rest's part, and 100·2·(0.0777 − 0.21²) the action's.",
    next="The page on action_baseline: on FrozenLake 1 % of what V leaves is the action's.",
    seconds=5,
    fast=True,
)
