from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

BATCHES = (1, 4, 16, 64)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    entries = [job.result["schemes"]["none"] for job in commands[1]]
    variance = np.array([e["variance"] for e in entries])
    error = np.array([e["variance_se"] for e in entries])
    slope = fit_slope(np.log(BATCHES), np.log(variance), error / variance)
    rows = [("episodes of one estimate", "variance", "times the episodes", "mean cosine with ∇J")]
    for n, e in zip(BATCHES, entries, strict=True):
        rows.append(
            (
                str(n),
                f"{e['variance']:.4g} ± {e['variance_se']:.2g}",
                f"{n * e['variance']:.4g}",
                f"{e['cosine']:.3f}",
            )
        )
    panel = Lines(
        "Variance of one estimate",
        "episodes that it is the mean of",
        (
            Series("measured", BATCHES, variance.tolist(), error.tolist(), points=True),
            Series("slope −1", BATCHES, [float(variance[0]) / n for n in BATCHES], dashed=True),
        ),
        log_x=True,
        log_y=True,
    )
    holds = abs(slope.value + 1) < 4 * slope.se
    return Finding(
        {"slope": slope},
        rows,
        (panel,),
        Verdict.SUPPORTED if holds else Verdict.REFUTED,
        f"the variance falls with the number of episodes like N to the power {slope}: four times the data "
        f"halve the noise, no more. At 64 episodes an estimate has a cosine of {entries[-1]['cosine']:.2f} "
        "with the gradient.",
    )


def fit_slope(x: np.ndarray, y: np.ndarray, se: np.ndarray) -> Measured:
    """The slope of a straight line by weighted least squares."""
    w = 1 / se**2
    centred = x - (w * x).sum() / w.sum()
    spread = (w * centred**2).sum()
    return Measured(float((w * centred * y).sum() / spread), float(spread**-0.5))


EXPERIMENT = Experiment(
    name="large_numbers",
    group="variance",
    row=2,
    claim="A lot of data averages the fluctuation away, by the law of large numbers.",
    chinese="所以可能需要大量的训练数据来根据大数定律来平均掉波动。",
    english="So a large amount of training data may be needed, to average the fluctuations away by the law "
    "of large numbers.",
    place="A L33",
    formula="Var(1/N Σᵢ ĝᵢ) = Var(ĝ)/N",
    commands=(
        (
            "pgrun algo=ppo env=CartPole-v1 trainer.total_steps=4096 trainer.eval_every=null "
            "hydra.run.dir=outputs/lab/here/policy"
        ),
        (
            "pgrun-study -m run=outputs/lab/here/policy critic=none variance=none batch=1,4,16,64 "
            "episodes=2048 repeats=1 reference_episodes=400"
        ),
    ),
    read=read,
    expected={"slope": Expected(-1.0)},
    verdict=Verdict.SUPPORTED,
    shows="A policy half trained by PPO, frozen. The line is the law, the points are measured. Everything "
    "that follows is about reaching lower points without the data: a factor of ten in variance is worth "
    "ten times the episodes.",
    next="variance=leave_one_out instead of none: the same slope, a lower line.",
    seconds=15,
)
