from __future__ import annotations

from collections.abc import Sequence

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import bias_in_theta, variance_in_theta

EXACT = {"reward_to_go": 88.0, "q": 32.0, "value_baseline": 48.0, "advantage": 8.0, "td0": 8.0}
EXPECTED = {name: Expected(v) for name, v in EXACT.items()} | {
    f"bias of {name}": Expected(0.0) for name in EXACT
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    entries = commands[0][0].result["schemes"]
    outcomes: dict[str, Measured] = {name: variance_in_theta(entries[name], 0.5) for name in EXACT}
    outcomes |= {f"bias of {name}": bias_in_theta(entries[name], 0.5) for name in EXACT}
    fair = all(abs(outcomes[f"bias of {name}"].value) < 4 * outcomes[f"bias of {name}"].se for name in EXACT)
    lower = outcomes["q"].value + 4 * outcomes["q"].se < outcomes["reward_to_go"].value
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (outcome_bars("Variance of one episode's gradient", "variance", outcomes, EXPECTED, list(EXACT)),),
        Verdict.SUPPORTED if fair and lower else Verdict.REFUTED,
        "with the exact Q in place of sampled rewards the variance falls from "
        f"{outcomes['reward_to_go'].value:.0f} to {outcomes['q'].value:.0f}, with Q − V to "
        f"{outcomes['advantage'].value:.1f}, without a bias. On another problem it rises: "
        "`pgrun-lab mismatch`.",
    )


EXPERIMENT = Experiment(
    name="q_weights",
    group="critics",
    row=8,
    claim="Q in place of the sampled reward-to-go has less variance, and is unbiased.",
    chinese="策略梯度中的 reward-to-go 式子只是一条轨迹的，肯定方差是比较大的。那么如果我们能用 Q "
    "函数来替代，方差肯定会减小了，注意到这也是无偏的。",
    english="The reward-to-go in the policy gradient is of one trajectory only, so its variance is "
    "certainly rather large. If we can replace it by the Q function, the variance will certainly become "
    "smaller; note that this is unbiased too.",
    place="C L83, L90–92",
    formula="E[Gₜ | sₜ, aₜ] = Q(sₜ, aₜ);   OneState at θ = ½:   G: 88,   Q: 32,   G − V: 48,   Q − V: 8,   "
    "δ: 8",
    commands=(
        "pgrun-study env=pgrun/OneState-v0 env.kwargs.theta=0.5 env.max_episode_steps=200 gamma=1 "
        "critic=exact 'schemes=[reward_to_go,q,value_baseline,advantage,td0]' batch=1 episodes=60000 "
        "env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="Two different savings: Q averages over what comes after the action, V takes off what the state is "
    "worth. Together they leave the noise of the action alone, and in a problem without chance δ with "
    "the true V is the advantage itself.",
    next="env=FrozenLake-v1 policy.ascent=0.5 for a problem with chance, where δ is noisier than Q − V.",
    seconds=5,
    fast=True,
)
