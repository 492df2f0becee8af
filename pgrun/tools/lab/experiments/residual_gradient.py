from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

if TYPE_CHECKING:
    from pgrun.envs.problems.teaching import Table

STATES = "ABC"
TRUE = (0.5, 1.0, 0.0)
LITERAL = (0.5, 0.75, 0.25)
EXPECTED = {
    f"literal ∇(δ²), V({s})": Expected(v, slack=1e-6) for s, v in zip(STATES, LITERAL, strict=True)
} | {f"target held fixed, V({s})": Expected(v, slack=1e-6) for s, v in zip(STATES, TRUE, strict=True)}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import gymnasium as gym

    import pgrun.envs.problems.registration  # noqa: F401

    table = gym.make("pgrun/ASplit-v0", disable_env_checker=True).unwrapped.P  # type: ignore[attr-defined]
    literal, held = fit_values(table, literal=True), fit_values(table, literal=False)
    outcomes = {f"literal ∇(δ²), V({s})": Measured(v) for s, v in zip(STATES, literal, strict=True)}
    outcomes |= {f"target held fixed, V({s})": Measured(v) for s, v in zip(STATES, held, strict=True)}
    wrong = max(abs(v - t) for v, t in zip(literal, TRUE, strict=True)) > 0.1
    bars = [
        Bar(f"V({s}), {label}", v, exact=t)
        for s, a, b, t in zip(STATES, literal, held, TRUE, strict=True)
        for label, v in (("literal", a), ("target fixed", b))
    ]
    rows = [("state", "literal ∇(δ²)", "target held fixed", "true V")]
    rows += [
        (s, f"{a:.3f}", f"{b:.3f}", f"{t:g}") for s, a, b, t in zip(STATES, literal, held, TRUE, strict=True)
    ]
    return Finding(
        outcomes,
        rows,
        (Bars("What both rules converge to", "V", bars),),
        Verdict.REFUTED if wrong else Verdict.SUPPORTED,
        "the gradient of δ², taken literally, also moves V(s') towards what came before it: it converges to "
        f"({', '.join(f'{v:.2f}' for v in literal)}) instead of ({', '.join(f'{v:g}' for v in TRUE)}). With "
        f"the target held fixed, φ += 2βδ∇V(s), it converges to ({', '.join(f'{v:.2f}' for v in held)}).",
    )


def fit_values(table: Table, literal: bool, steps: int = 4000, rate: float = 0.1) -> list[float]:
    """V after many expected updates on the transitions as often as episodes have them: A, then B or C."""
    often = (1.0, 0.5, 0.5)
    v = [0.3, 0.3, 0.3]
    for _ in range(steps):
        change = [0.0, 0.0, 0.0]
        for s in range(3):
            for chance, after, reward, ends in table[s][0]:
                delta = reward + (not ends) * v[after] - v[s]
                change[s] += often[s] * chance * delta
                if literal and not ends:
                    change[after] -= often[s] * chance * delta
        v = [x + rate * d for x, d in zip(v, change, strict=True)]
    return v


EXPERIMENT = Experiment(
    name="residual_gradient",
    group="actor_critic",
    row=14,
    claim="The critic's update is the gradient of the squared TD error: φ ← φ − β∇(δ²).",
    chinese="每走一步就用当前 transition 更新 critic,再用同一个 TD-error 立刻更新 actor …… # 2) critic "
    "update (one-step TD)  δ = r + γ(1−done) Vφ(s') − Vφ(s);  φ ← φ − β * ∇φ (δ^2)",
    english="At every step, update the critic with the present transition, then update the actor at once "
    "with the same TD error … # 2) critic update (one-step TD)  δ = r + γ(1−done) Vφ(s') − Vφ(s);  φ ← φ − "
    "β * ∇φ (δ^2)",
    place="C L169–172",
    formula="meant:   φ += 2βδ∇V(s);      written:   φ += 2βδ(∇V(s) − γ∇V(s'))",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="A goes to B or C at even odds; B earns 1, C nothing (Sutton & Barto 2018, example 11.2). The "
    "literal gradient makes consecutive values alike, which lowers δ² but is no prediction: B and C are "
    "drawn towards A.",
    next="pgrun algo=online_ac env=pgrun/ASplit-v0, which holds the target fixed.",
    seconds=1,
    fast=True,
)
