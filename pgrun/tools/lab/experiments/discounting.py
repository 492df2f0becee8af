from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

GAMMA, LATE, SHOWN = 0.9, 20, 40


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    strict, usual = (job.result for job in commands[0])
    entries = {
        "from_start": strict["schemes"]["reward_to_go"],
        "reward_to_go": usual["schemes"]["reward_to_go"],
    }
    spread = {
        name: r["by_step"]["reward_to_go"]["std"]
        for name, r in (("from_start", strict), ("reward_to_go", usual))
    }
    outcomes = {
        "z of the bias, γ^t'": Measured(entries["from_start"]["bias_z"]),
        "z of the bias, γ^(t'−t)": Measured(entries["reward_to_go"]["bias_z"]),
        f"weights at t = {LATE}, strict ÷ usual": Measured(
            spread["from_start"][LATE] / spread["reward_to_go"][LATE]
        ),
    }
    rows = [("discounting", "bias along ∇J", "z", "variance", "cosine")]
    for name, e in entries.items():
        bias = Measured(e["bias_along"], e["bias_se"])
        rows.append((name, str(bias), f"{e['bias_z']:+.1f}", f"{e['variance']:.3g}", f"{e['cosine']:.3f}"))
    steps = range(SHOWN)
    series = [
        Series(f"variance.discounting={name}", steps, [spread[name][t] or 0.0 for t in steps])
        for name in spread
    ]
    holds = abs(entries["from_start"]["bias_z"]) < 4 and abs(entries["reward_to_go"]["bias_z"]) > 10
    return Finding(
        outcomes,
        rows,
        (Lines("How much the weights vary, step by step", "t", series, log_y=True),),
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"with γ^t' the bias is {entries['from_start']['bias_z']:+.1f} standard errors, with γ^(t'−t) "
        f"{entries['reward_to_go']['bias_z']:+.0f}: that is the gradient of no J. The price of strictness: "
        f"at step {LATE} the weights have "
        f"{100 * spread['from_start'][LATE] / spread['reward_to_go'][LATE]:.0f} % of their size, so that "
        "late decisions are hardly learned, which is why everyone leaves the factor out.",
    )


EXPERIMENT = Experiment(
    name="discounting",
    group="reward_to_go",
    row=10,
    claim="The strict gradient has γ^(t'−1), and in practice γ^(t'−t) is used.",
    chinese="对于 Monte Carlo 策略梯度，γ^(t'−t) 和 γ^(t'−1) 的区别 …… "
    "后者为严格推导出的但是实际中用前者（discounted reward-to-go）",
    english="For Monte Carlo policy gradients, the difference between γ^(t'−t) and γ^(t'−1) … the latter is "
    "what is derived strictly, but in practice the former is used (discounted reward-to-go).",
    place="C L106",
    formula="∇J_γ = E Σₜ ∇log π(aₜ|sₜ) · γᵗ Gₜ,   Gₜ = Σ_{t'≥t} γ^(t'−t) r_{t'},   t from 0",
    commands=(
        "pgrun-study -m env=FrozenLake-v1 gamma=0.9 policy.ascent=0.5 critic=none 'schemes=[reward_to_go]' "
        "discounting=from_start,reward_to_go by_step=40 batch=100 episodes=30000 env.num_envs=256",
    ),
    read=read,
    expected={
        "z of the bias, γ^t'": Expected(low=-4.0, high=4.0),
        "z of the bias, γ^(t'−t)": Expected(low=10.0),
        f"weights at t = {LATE}, strict ÷ usual": Expected(GAMMA**LATE, slack=1e-6),
    },
    verdict=Verdict.SUPPORTED,
    shows="The same episodes for both. Without the factor every visited state counts alike, wherever in the "
    "episode; the direction is still a useful one, only not that of ∇J_γ.",
    next="gamma=0.99, then gamma=1, where the two are the same.",
    seconds=10,
)
