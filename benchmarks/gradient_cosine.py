"""Do two batches agree on the direction? Cosine between independent gradient estimates against the number of
samples, early and late in training: Ilyas et al. 2020, "A closer look at deep policy gradients", figure 2,
for PPO on HalfCheetah-v5.

    pip install -c constraints.txt -e ".[mujoco]"
    python benchmarks/gradient_cosine.py --figure docs/figures/gradient_cosine.png

Trains the tuned PPO twice, short and long, freezes both policies, and takes their gradients with the critic
of the run (gae as tuned, no factor γ^t, as PPO has it) episode by episode: estimates from k episodes are
means of k of those.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from support import settings_of

from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.presentation.panels import Lines, Series
from pgrun.presentation.plotting import write_panels
from pgrun.tools.study.cli import STUDY
from pgrun.tools.study.score import mean_pairwise_cosine
from pgrun.tools.study.settings import Study
from pgrun.tools.study.study import build_study_setup, measure_estimates
from pgrun.training.build import build_run
from pgrun.training.loop import train_run

ENV = "HalfCheetah-v5"


def trained(steps: int, folder: Path) -> float:
    """Mean return of the final evaluation; the policy lies in ``folder``."""
    folder.mkdir(parents=True)
    settings = settings_of(
        "algo=ppo", f"env={ENV}", f"trainer.total_steps={steps}", "trainer.eval_episodes=4"
    )
    return train_run(build_run(settings), folder)["eval"]["return_mean"]


def gradients(run: Path, episodes: int) -> tuple[torch.Tensor, int]:
    """(ĝ of single episodes [M, P], steps of an episode)"""
    line = (
        f"run={run} critic=run schemes=gae discounting=reward_to_go batch=1 episodes={episodes} "
        "env.num_envs=8"
    )
    settings = compose_jobs(read_command(line.split(), STUDY)).composed[0].settings
    study = Study(episodes=episodes, batch=1, discounting="reward_to_go", repeats=1)
    lab = build_study_setup(study, settings)
    try:
        tally, actual, _ = measure_estimates(lab, lambda _: None)
    finally:
        lab.close()
    return actual["gae"].double(), tally.steps // episodes


def curve(g: torch.Tensor, steps: int) -> list[tuple[int, float, float]]:
    """(samples, mean cosine between pairs, its standard error from a delete-one jackknife over estimates)"""
    points, k = [], 1
    while len(g) // k >= 4:
        groups = g[: len(g) // k * k].view(-1, k, g.shape[1]).mean(1)
        m = len(groups)
        kept = [mean_pairwise_cosine(torch.cat([groups[:i], groups[i + 1 :]])) for i in range(m)]
        spread = torch.tensor(kept, dtype=torch.float64)
        error = math.sqrt((m - 1) / m * float((spread - spread.mean()).square().sum()))
        points.append((k * steps, float(mean_pairwise_cosine(groups) or 0.0), error))
        k *= 2
    return points


def draw(curves: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    series = []
    for label, points in curves.items():
        samples, cosine, error = zip(*points, strict=True)
        series.append(Series(label, samples, cosine, [1.96 * e for e in error]))
    series.append(Series("one PPO batch (2048)", (2048, 2048), (0.0, 1.0), dashed=True))
    title = f"PPO on {ENV}: do two estimates of one policy's gradient agree?"
    across = "state-action pairs in one estimate; y: mean cosine between two"
    write_panels([Lines(title, across, series, log_x=True, limits=(-0.05, 1.05))], title, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, nargs=2, default=(20_000, 500_000), help="of training: early and late"
    )
    parser.add_argument("--episodes", type=int, default=128)
    parser.add_argument("--figure", type=Path)
    given: Any = parser.parse_args()
    curves = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, steps in zip(("early", "late"), given.steps, strict=True):
            run = Path(folder) / name
            result = trained(steps, run)
            label = f"{name}: {steps:,} steps, return {result:.0f}"
            curves[label] = curve(*gradients(run, given.episodes))
            print(label)
            for samples, cosine, error in curves[label]:
                print(f"  {samples:>8} samples   cosine {cosine:.3f} ± {error:.3f}", flush=True)
    if given.figure:
        draw(curves, given.figure)


if __name__ == "__main__":
    main()
