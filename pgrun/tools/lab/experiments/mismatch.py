from __future__ import annotations

from collections.abc import Sequence

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import episode_variance

EXPECTED = {
    "reward_to_go": Expected(0.0, slack=1e-12),
    "q": Expected(0.0625),
    "value_baseline": Expected(0.125),
    "mean of all three": Expected(0.0),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    result = commands[0][0].result
    outcomes: dict[str, Measured] = {}
    for name in list(EXPECTED)[:3]:
        both = episode_variance(result["schemes"][name], result["batch"])
        outcomes[name] = Measured(both.value / 2, both.se / 2)  # two logits have twice the variance of one
    entries = [result["schemes"][name] for name in list(EXPECTED)[:3]]
    outcomes["mean of all three"] = Measured(
        max(e["bias_norm"] for e in entries), max(e["bias_noise"] for e in entries)
    )
    raised = outcomes["q"].value > 4 * outcomes["q"].se
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            outcome_bars(
                "Variance of one episode's gradient", "variance", outcomes, EXPECTED, list(EXPECTED)[:3]
            ),
        ),
        Verdict.REFUTED if raised else Verdict.SUPPORTED,
        f"here the sampled return has no variance at all, Q has {outcomes['q']}, and the return minus V has "
        f"{outcomes['value_baseline']}: what Q averages away would have cancelled with the other action's "
        "score.",
    )


EXPERIMENT = Experiment(
    name="mismatch",
    group="critics",
    row=8.5,
    claim="Q in place of the sampled return surely lowers the variance.",
    chinese="那么如果我们能用 Q 函数来替代，方差肯定会减小了",
    english=("If we can replace it by the Q function, the variance will certainly become smaller."),
    place="C L83",
    formula="two steps that look alike, reward 1 if a₁ ≠ a₂, π = ½:   (g₁ + g₂)·r = 0 always, since g₁ = "
    "−g₂ wherever r = 1;   with Q: 1/16, with G − V: 1/8",
    commands=(
        (
            "pgrun-study env=pgrun/Mismatch-v0 gamma=1 policy.theta=0.5 critic=exact "
            "'schemes=[reward_to_go,q,value_baseline]' batch=2 episodes=20000 env.num_envs=256"
        ),
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="A counterexample, made for the purpose. For a single step Q must help, by the law of total "
    "variance; the sum over steps also has covariances, and they may have been what kept the whole "
    "small. Usually, not surely.",
    next="policy.theta=0.8: is the return still the best?",
    seconds=3,
    fast=True,
)
