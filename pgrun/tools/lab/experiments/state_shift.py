from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

DISTANCES = (0.0001, 0.001, 0.01, 0.1)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    results = [job.result for job in commands[0]]
    states = [r["products"]["states"] for r in results]
    entries = [r["schemes"] for r in results]
    shift = [max(s["shift"]) for s in states]
    bias = [e["per_step"]["bias_exact"] / r["reference_norm"] for e, r in zip(entries, results, strict=True)]
    ratio = [
        e["state_ratio"]["bias_exact"] / r["reference_norm"] for e, r in zip(entries, results, strict=True)
    ]
    slope = float(np.polyfit(np.log(DISTANCES[:3]), np.log(bias[:3]), 1)[0])
    below = max(a / b for s in states for a, b in zip(s["shift"][1:], s["bound"][1:], strict=True))
    worst = max(off(e, name) for e in entries for name in ("past_only", "state_ratio", "per_step"))
    outcomes = {
        "power of KL with which the bias of per_step grows": Measured(slope),
        "largest Σ|p' − p| ÷ (2t · max TV)": Measured(below),
        "largest standard errors between measured and exact bias": Measured(worst),
        "bias of per_step at KL = 0.0001, of ‖∇J‖": Measured(bias[0]),
        "bias of per_step at KL = 0.1, of ‖∇J‖": Measured(bias[-1]),
    }
    rows = [
        (
            "KL(β‖π)",
            "max |p'/p − 1|",
            "largest Σ|p' − p|",
            "bias, per_step",
            "bias, state_ratio",
            "variance, past_only ÷ state_ratio",
        )
    ]
    for d, s, a, b, e in zip(DISTANCES, states, bias, ratio, entries, strict=True):
        times = e["past_only"]["variance"] / e["state_ratio"]["variance"]
        rows.append(
            (
                f"{d:g}",
                f"{max(s['ratio']):.3g}",
                f"{max(s['shift']):.3g}",
                f"{100 * a:.1f} %",
                f"{100 * b:.1f} %",
                f"{times:.2g}",
            )
        )
    grows = 0.4 < slope < 0.6 and below <= 1
    return Finding(
        outcomes,
        rows,
        (
            Lines(
                "Bias of the gradient, exactly",
                "KL(β‖π)",
                (
                    Series("per_step: state ratio taken for 1", DISTANCES, bias),
                    Series("state_ratio, past_only: right states, old Q", DISTANCES, ratio),
                    Series(
                        "√KL",
                        DISTANCES,
                        [bias[0] * (d / DISTANCES[0]) ** 0.5 for d in DISTANCES],
                        dashed=True,
                    ),
                ),
                log_x=True,
                log_y=True,
            ),
            Lines(
                "How far the visited states move",
                "t",
                [
                    Series(f"KL = {d:g}", range(60), s["shift"][:60])
                    for d, s in zip(DISTANCES, states, strict=True)
                ],
            ),
        ),
        Verdict.DEPENDS if grows else Verdict.REFUTED,
        f"at a mean KL of 0.0001 taking the state ratio for 1 makes a bias of {100 * bias[0]:.1f} % of the "
        f"gradient, at 0.1 of {100 * bias[-1]:.0f} %; it grows like KL to the power {slope:.2f}, as √KL "
        f"does, until steps are large. The visited states are at most Σ|p' − p| = {shift[-1]:.2g} apart, a "
        "few steps in; later most episodes have ended. A single state's ratio can be far from 1 long before.",
    )


def off(entries: Mapping[str, Any], name: str) -> float:
    e = entries[name]
    standard_errors: float = abs(e["bias_along"] - e["bias_along_exact"]) / e["bias_se"]
    return standard_errors


EXPERIMENT = Experiment(
    name="state_shift",
    group="off_policy",
    row=25,
    claim="While the policy hardly moves, the ratio of state visits is 1 and can be left out.",
    chinese="如果我们认为策略变动不大的话，P(s) "
    "也理应不会瞬间剧烈变化。所以我们忽略了状态分布的变化而只关注策略在当前动作上的变化。",
    english="If we think that the policy does not change much, then P(s) should not change violently in an "
    "instant either. So we neglect the change of the state distribution and look only at how the policy "
    "changes for the present action.",
    place="A L249; C L241–246",
    formula="E[∏_{k<t} ρₖ | sₜ] = p'(sₜ)/p(sₜ),   Σ_s |p'(sₜ) − p(sₜ)| ≤ 2t · max_s TV(π', π) ≤ 2t · max_s "
    "√(KL/2)",
    commands=(
        "pgrun-study -m env=FrozenLake-v1 gamma=1 policy.ascent=0.5 "
        "behaviour.distance=0.0001,0.001,0.01,0.1 'weights=[past_only,state_ratio,per_step]' batch=20 "
        "episodes=20000 env.num_envs=256 repeats=1",
    ),
    read=read,
    expected={
        "power of KL with which the bias of per_step grows": Expected(0.5, slack=0.05),
        "largest Σ|p' − p| ÷ (2t · max TV)": Expected(low=0.0, high=1.0 + 1e-9),
        "largest standard errors between measured and exact bias": Expected(low=0.0, high=4.0),
        "bias of per_step at KL = 0.0001, of ‖∇J‖": Expected(low=0.002, high=0.03),
        "bias of per_step at KL = 0.1, of ‖∇J‖": Expected(low=0.05, high=2.0),
    },
    verdict=Verdict.DEPENDS,
    shows="The question that the notes leave open, why products over a trajectory may be replaced by "
    "ratios of states, is the first formula: given the state, the product of the past ratios *is* p'/p on "
    "average, and the product only adds noise (last column).",
    next="env=CliffWalking-v1 env.max_episode_steps=50, where episodes are longer.",
    seconds=40,
)
