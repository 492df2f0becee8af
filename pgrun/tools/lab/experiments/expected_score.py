from __future__ import annotations

from collections.abc import Sequence

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows

LABELS = {"score": "E[score]", "past": "E[score × past rewards]"}
CONTROL = "mean with b = Q(s, a)"
EXPECTED = {label: Expected(0.0) for label in LABELS.values()} | {CONTROL: Expected(0.0)}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    result = commands[0][0].result
    entries, size = result["schemes"], result["reference_norm"]
    outcomes = {
        label: Measured(entries[name]["bias_along"] / size, entries[name]["bias_se"] / size)
        for name, label in LABELS.items()
    }
    control = entries["action_baseline corrected=false"]
    outcomes[CONTROL] = Measured(1 + control["bias_along"] / size, control["bias_se"] / size)
    zero = all(abs(m.value) < 4 * m.se for m in (outcomes[label] for label in LABELS.values()))
    lost = abs(outcomes[CONTROL].value) < 4 * outcomes[CONTROL].se
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "component along ∇J, of ‖∇J‖"),
        (
            outcome_bars(
                "Means along ∇J", "of ‖∇J‖: the gradient itself has 1", outcomes, EXPECTED, list(EXPECTED)
            ),
        ),
        Verdict.SUPPORTED if zero and lost else Verdict.REFUTED,
        f"the mean score is {outcomes['E[score]']} and the past term {outcomes['E[score × past rewards]']} "
        "of ‖∇J‖, zero within their errors, so both may be taken away. What depends on the action may not: "
        f"with Q(s, a) as a baseline {outcomes[CONTROL]} of the gradient is left, instead of 1.",
    )


EXPERIMENT = Experiment(
    name="expected_score",
    group="reward_to_go",
    row=3,
    claim="The score has mean 0, and so has the score times anything that was settled before the action, "
    "such as past rewards.",
    chinese="Score Function 的期望为 0。…… 只要这时候乘在这个梯度后面的是一个常数（或者不依赖于当前 x "
    "的项），整个期望就是 0。",
    english="The expectation of the score function is 0. … As long as what this gradient is multiplied by "
    "is a constant (or a term that does not depend on the present x), the whole expectation is 0.",
    place="A L56–118",
    formula="E[∇log π(a|s)] = Σ_a ∇π(a|s) = ∇1 = 0,   E[∇log π(aₜ|sₜ) · Σ_{t'<t} r_{t'}] = E[Σ_{t'<t} "
    "r_{t'} · 0] = 0",
    commands=(
        "pgrun-study env=pgrun/SmallMDP-v0 gamma=1 policy.ascent=0.5 critic=exact "
        "'schemes=[score,past,{action_baseline:{corrected:false}}]' batch=10 episodes=40000 env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="A random problem of four states, where rewards come at every step. The third row is the negative "
    "control: b = Q(s, a) depends on the action, and the whole gradient goes with it.",
    next="env=FrozenLake-v1: its only reward is the last one, so that there is no past to leave out, and "
    "the second row is 0 without any noise.",
    seconds=6,
    fast=True,
)
