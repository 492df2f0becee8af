from __future__ import annotations

import math
from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows

SIGMAS, KL = (0.3, 3.0), 0.01
EXACT = 1e-6  # log σ is typed with ten digits
EXPECTED: dict[str, Expected] = {}
for _s in SIGMAS:
    EXPECTED |= {
        f"KL of Δμ = 1, σ = {_s:g}": Expected(1 / (2 * _s**2), slack=EXACT / _s**2),
        f"Fisher of μ, σ = {_s:g}": Expected(1 / _s**2, slack=EXACT / _s**2),
        f"Δμ of the natural step, σ = {_s:g}": Expected(_s * math.sqrt(2 * KL), slack=EXACT),
        f"KL of the natural step, σ = {_s:g}": Expected(KL, slack=EXACT),
    }


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    outcomes: dict[str, Measured] = {}
    for s, job in zip(SIGMAS, commands[0], strict=True):
        step = job.result["step"]
        outcomes[f"KL of Δμ = 1, σ = {s:g}"] = Measured(step["euclidean"]["kl_old_new"])
        outcomes[f"Fisher of μ, σ = {s:g}"] = Measured(step["fisher_diagonal"][0])
        outcomes[f"Δμ of the natural step, σ = {s:g}"] = Measured(step["natural"]["distance"])
        outcomes[f"KL of the natural step, σ = {s:g}"] = Measured(step["natural"]["kl_old_new"])
    narrow, wide = (outcomes[f"KL of Δμ = 1, σ = {s:g}"].value for s in SIGMAS)
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        tuple(densities(s) for s in SIGMAS),
        Verdict.SUPPORTED if narrow > 50 * wide else Verdict.REFUTED,
        f"one unit of μ moves the narrow policy by a KL of {narrow:.4f} and the wide one by {wide:.4f}, a "
        f"hundredth. The natural step of radius {KL:g} moves both by "
        f"{outcomes['KL of the natural step, σ = 0.3'].value:.4g}, with Δμ = "
        f"{outcomes['Δμ of the natural step, σ = 0.3'].value:.3f} and "
        f"{outcomes['Δμ of the natural step, σ = 3'].value:.3f}.",
    )


def densities(sigma: float) -> Lines:
    x = [-9 + 0.1 * i for i in range(191)]
    p = {
        mu: [math.exp(-((a - mu) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) for a in x]
        for mu in (0, 1)
    }
    # markers would hide the curve
    return Lines(
        f"σ = {sigma:g}: μ = 0 and μ = 1",
        "action",
        [Series(f"μ = {mu}", x, y, bare=True) for mu, y in p.items()],
    )


EXPERIMENT = Experiment(
    name="two_gaussians",
    group="natural",
    row=26,
    claim="The same distance in the parameters changes one policy a lot and another hardly at all.",
    chinese="在下图中，我们都让策略权重变化了1个单位的欧式距离，但是对左图的影响是远大于右图的。…… "
    "两组高斯函数中的均值分别为0和1，左图的高斯函数标准差为0.3，右图为3",
    english="In the figure below we let the weights of the policy change by a Euclidean distance of 1 in "
    "both cases, but the effect on the left is far larger than on the right. … The means of both pairs of "
    "Gaussians are 0 and 1; the standard deviation is 0.3 on the left and 3 on the right.",
    place="B L11–13; A L258",
    formula="KL(N(μ, σ²)‖N(μ + 1, σ²)) = 1/(2σ²),   F = diag(1/σ², 2) in (μ, log σ),   natural step: Δμ = "
    "σ√(2ε)",
    commands=(
        "pgrun-study -m env=pgrun/TwoGaussians-v0 gamma=1 network.hidden=[] network.bias=false "
        "network.log_std=-1.2039728043,1.0986122887 step.distance=1 step.kl=0.01 critic=none "
        "'schemes=[none]' episodes=400 repeats=1",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="The two pictures of the notes, with their numbers. A learning rate that suits one of the "
    "policies is a hundred times too large for the other; the Fisher matrix is what tells them apart.",
    next="step.kl=1: the quadratic model stays exact for a shift of μ, and only for that.",
    seconds=3,
    fast=True,
)
