from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

SAMPLES = (10, 100, 1000, 10000)
EXPECTED = {
    "power of N with which the error falls": Expected(-0.5, slack=0.05),
    "largest rank ÷ N": Expected(low=0.0, high=1.0),
    "rank at N = 10": Expected(10),
    "largest error ÷ √(c/N)": Expected(low=0.8, high=1.25),
    "time of a product, outer products ÷ KL's Hessian": Expected(low=0.2, high=2.0),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    part = commands[0][0].result["fisher"]
    sizes = part["sizes"]
    errors = [s["error"] for s in sizes]
    slope = float(np.polyfit(np.log(SAMPLES), np.log(errors), 1)[0])
    ratio = sizes[-1]["microseconds_outer"] / sizes[-1]["microseconds_hessian"]
    predicted = [s["error"] / s["predicted"] for s in sizes]
    outcomes = {
        "power of N with which the error falls": Measured(slope),
        "largest rank ÷ N": Measured(max(s["rank"] / s["samples"] for s in sizes)),
        "rank at N = 10": Measured(sizes[0]["rank"]),
        "largest error ÷ √(c/N)": Measured(max(predicted, key=lambda r: abs(np.log(r)))),
        "time of a product, outer products ÷ KL's Hessian": Measured(ratio),
    }
    rows = [
        (
            "samples N",
            "relative error",
            "√(c/N)",
            f"rank, of {part['parameters']}",
            "µs, outer products",
            "µs, KL's Hessian",
        )
    ]
    for s in sizes:
        cells = (f"{s['error']:.3g} ± {s['error_se']:.1g}", f"{s['predicted']:.3g}", str(s["rank"]))
        rows.append(
            (str(s["samples"]), *cells, f"{s['microseconds_outer']:.0f}", f"{s['microseconds_hessian']:.0f}")
        )
    equal = abs(slope + 0.5) < 0.05
    cheaper = ratio < 0.5  # a gain that another machine would see too
    return Finding(
        outcomes,
        rows,
        (
            Lines(
                "Relative error of the sampled Fisher matrix",
                "samples N",
                (
                    Series("measured", SAMPLES, errors, [s["error_se"] for s in sizes], points=True),
                    Series("√(c/N)", SAMPLES, [s["predicted"] for s in sizes], dashed=True),
                ),
                log_x=True,
                log_y=True,
            ),
        ),
        Verdict.REFUTED if not equal else Verdict.SUPPORTED if cheaper else Verdict.DEPENDS,
        f"the outer products of scores tend to the Hessian of the KL, with an error of {errors[0]:.2g} at "
        f"10 samples and {errors[-1]:.2g} at 10,000 (N to the power {slope:.2f}), and with no more than N "
        f"directions in them. A product with them takes {ratio:.1f} times as long: where the KL's Hessian "
        "is written in closed form the sampled one saves little.",
    )


EXPERIMENT = Experiment(
    name="sampled_fisher",
    group="natural",
    row=30,
    claim="The Fisher matrix is an outer product of scores, which can be sampled: locally the Hessian of "
    "the KL, and cheaper.",
    chinese="可以表示为策略梯度的外积，在局部等效于Hessian，同时计算效率更高（…… "
    "期望意味着可以使用样本近似）。",
    english="It can be written as the outer product of policy gradients; locally it is equivalent to the "
    "Hessian, and it is cheaper to compute (… an expectation means that it can be approximated with "
    "samples).",
    place="B L30–32; A L350–353",
    formula="F = E[∇log π ∇log πᵀ] = ∇²KL,   F̂ = 1/N Σ gᵢgᵢᵀ:   E‖F̂ − F‖² = (E‖g‖⁴ − ‖F‖²)/N,   rank F̂ ≤ N",
    commands=(
        "pgrun-study env=CartPole-v1 network.hidden=[16] critic=none 'schemes=[none]' "
        "fisher=[10,100,1000,10000] episodes=800 reference_episodes=100 repeats=1",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="With ten samples F̂ knows ten directions, and its inverse blows up all others: the reason for "
    "damping. Where actions are summed over instead of sampled (algo.fisher=exact), the noise of the "
    "actions is gone at the same price.",
    next="network.hidden=[8] or env=Acrobot-v1; algo=npg algo.fisher=sampled to train with it.",
    seconds=10,
)
