from __future__ import annotations

from collections.abc import Sequence

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import episode_variance

EXPECTED = {
    "whole return": Expected(0.0, slack=1e-12),
    "reward-to-go": Expected(0.25),
    "bias of reward-to-go": Expected(0.0),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    result = commands[0][0].result
    entries = result["schemes"]
    outcomes: dict[str, Measured] = {}
    for name, label in (("none", "whole return"), ("reward_to_go", "reward-to-go")):
        both = episode_variance(entries[name], result["batch"])
        outcomes[label] = Measured(both.value / 2, both.se / 2)  # two logits have twice the variance of one
    off = entries["reward_to_go"]
    outcomes["bias of reward-to-go"] = Measured(off["bias_norm"] / 2**0.5, off["bias_noise"])
    raised = outcomes["reward-to-go"].value > 4 * outcomes["reward-to-go"].se
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            outcome_bars(
                "Variance of one episode's gradient",
                "variance",
                outcomes,
                EXPECTED,
                ["whole return", "reward-to-go"],
            ),
        ),
        Verdict.REFUTED if raised else Verdict.SUPPORTED,
        f"here reward-to-go raises the variance from {outcomes['whole return'].value:.3g} to "
        f"{outcomes['reward-to-go']}: the past that it leaves out would have cancelled the future.",
    )


EXPERIMENT = Experiment(
    name="conserved",
    group="reward_to_go",
    row=4.5,
    claim="Fewer terms in the sum must lower the variance.",
    chinese="这样子的好处就是减少了求和总数，必然减少方差的大小。",
    english="The advantage of this is that there are fewer terms in the sum, which necessarily reduces the "
    "size of the variance.",
    place="A L40",
    formula="r₁ = ±1 by the first action, r₂ = −r₁ whatever comes:   r(τ) = 0, ĝ = 0;   with reward-to-go ĝ "
    "= g₁·0 + g₂·(−r₁),   variance ¼",
    commands=(
        (
            "pgrun-study env=pgrun/Conserved-v0 gamma=1 policy.theta=0.5 critic=none "
            "'schemes=[none,reward_to_go]' batch=2 episodes=20000 env.num_envs=256"
        ),
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="A counterexample, made for the purpose: what is earned first is lost again. The variance of a sum "
    "with fewer terms is smaller when the terms are independent, or of like sign; rewards that make up "
    "for one another are neither. On 20 random problems reward-to-go was never worse: usually, not "
    "always.",
    next="policy.theta=0.9; or write your own counterexample as a table (env=pgrun/Table-v0).",
    seconds=3,
    fast=True,
)
