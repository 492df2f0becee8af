from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.seeds import group_by, mean_eval_return, score_jobs

GRIDS = {
    "ppo": ("optimizer.lr", "algo.clip"),
    "npg": ("algo.delta", "critic.optimizer.lr"),
    "trpo": ("algo.delta", "critic.optimizer.lr"),
}
COMMON = (
    "env=CartPole-v1 tuned=none seed=0,1 env.num_envs=8 sampler.steps=64 critic.epochs=4 "
    "diagnostics.gradient_every=0 trainer.eval_every=1024 trainer.eval_episodes=10 trainer.total_steps=6144"
)


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    cells = {a: group_by(jobs, *keys) for jobs, (a, keys) in zip(commands, GRIDS.items(), strict=True)}
    grid = {
        a: {cell: score_jobs(jobs, mean_eval_return).mean() for cell, jobs in by_cell.items()}
        for a, by_cell in cells.items()
    }
    kept = {a: float(np.mean(list(by_cell.values())) / max(by_cell.values())) for a, by_cell in grid.items()}
    worst = {a: float(min(by_cell.values()) / max(by_cell.values())) for a, by_cell in grid.items()}
    rows = [("", "settings", "best", "mean ÷ best", "worst ÷ best", "seed alone: largest ÷ smallest")]
    for a, keys in GRIDS.items():
        best = max(grid[a], key=lambda cell: grid[a][cell])
        spread = score_jobs(cells[a][best], mean_eval_return)
        told = " ".join(f"{key}={value}" for key, value in zip(keys, best, strict=True))
        rows.append(
            (
                a,
                f"{len(grid[a])}",
                f"{grid[a][best]:.0f} ({told})",
                f"{kept[a]:.2f}",
                f"{worst[a]:.2f}",
                f"{spread.max() / spread.min():.2f}",
            )
        )
    touchy = worst["ppo"] < 0.6
    return Finding(
        {f"{a}: worst of the grid ÷ best": Measured(worst[a]) for a in GRIDS}
        | {"ppo: mean of the grid ÷ best": Measured(kept["ppo"])},
        rows,
        [
            Lines(
                "The grid, from best to worst",
                "rank of the setting",
                [
                    Series(a, range(1, len(by_cell) + 1), sorted(by_cell.values(), reverse=True))
                    for a, by_cell in grid.items()
                ],
            )
        ],
        Verdict.SUPPORTED if touchy else Verdict.REFUTED,
        "over nine settings each, a decade or a factor of 3 apart, the worst reaches "
        f"{100 * worst['ppo']:.0f} % of the best for ppo, {100 * worst['npg']:.0f} % for npg and "
        f"{100 * worst['trpo']:.0f} % for trpo, their mean {100 * kept['ppo']:.0f}, {100 * kept['npg']:.0f} "
        f"and {100 * kept['trpo']:.0f} %. A wrong choice costs any of them, PPO no more than the others as "
        "far as two seeds a setting can tell.",
    )


EXPERIMENT = Experiment(
    name="sensitive",
    group="tricks",
    row=38,
    claim="PPO is sensitive to its hyper-parameters.",
    chinese="对超参数敏感",
    english=("Sensitive to hyper-parameters."),
    place="C L306",
    formula="mean of all evaluations over a grid of 3 × 3 settings, the same size for each algorithm",
    commands=(
        f"pgrun -m algo=ppo optimizer.lr=1e-4,1e-3,1e-2 algo.clip=0.05,0.2,0.8 {COMMON}",
        f"pgrun -m algo=npg algo.delta=0.001,0.01,0.1 critic.optimizer.lr=1e-4,1e-3,1e-2 {COMMON}",
        f"pgrun -m algo=trpo algo.delta=0.001,0.01,0.1 critic.optimizer.lr=1e-4,1e-3,1e-2 {COMMON}",
    ),
    read=read,
    expected={
        "ppo: worst of the grid ÷ best": Expected(high=0.6),
        "npg: worst of the grid ÷ best": Expected(low=0.0, high=1.0),
        "trpo: worst of the grid ÷ best": Expected(low=0.0, high=1.0),
        "ppo: mean of the grid ÷ best": Expected(low=0.2, high=0.95),
    },
    verdict=Verdict.SUPPORTED,
    shows="How sensitive a method is depends on how wide the grid is drawn; these are a hundredfold in each "
    "learning rate and radius, and a factor of 16 in ε.",
    next="algo.epochs=1,10,40; trainer.total_steps=50000, where slow settings catch up.",
    seconds=50,
)
