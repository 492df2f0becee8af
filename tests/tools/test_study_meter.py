"""The meter agrees with itself: what training logs at an update, the study finds for
the policy of that update.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.training.build import build_run
from pgrun.training.loop import train_run
from tests.helpers.support_study import study

EPISODES = 300  # of an update, and of one estimate in the study


def run(folder: Path, steps: int, env: str) -> list[dict[str, str]]:
    """The rows of metrics.csv."""
    line = (
        f"algo=reinforce variance=reward_to_go sampler.episodes={EPISODES} env={env} env.num_envs=64 "
        f"trainer.total_steps={steps} trainer.eval_every=null trainer.eval_episodes=1 logger.progress=false "
        "network.hidden=[8] diagnostics.gradient_every=1 optimizer.lr=0.01 optimizer.schedule=constant "
        "gamma=0.9 advantage_norm=false"
    )
    grad = torch.is_grad_enabled()
    folder.mkdir()
    try:
        train_run(build_run(compose_jobs(read_command(line.split())).composed[0].settings), folder)
    finally:
        torch.set_grad_enabled(grad)
    return list(csv.DictReader((folder / "metrics.csv").open()))


@pytest.mark.parametrize(("env", "steps"), [("pgrun/SmallMDP-v0", 12_000), ("CartPole-v1", 40_000)])
def test_the_variance_that_training_logs_is_the_one_that_the_study_finds(
    env: str, steps: int, tmp_path: Path
) -> None:
    """A run that stops after five updates saves the policy from which the sixth
    update of a longer one starts.
    """
    rows = run(tmp_path / "longer", steps, env)
    until = int(rows[4]["env_steps"])
    shorter = run(tmp_path / "shorter", until, env)
    assert len(shorter) == 5
    assert shorter[4]["gradient/variance"] == rows[4]["gradient/variance"]
    logged, error = (float(rows[5][f"gradient/{name}"]) for name in ("variance", "variance_se"))
    line = (
        f"run={tmp_path / 'shorter'} critic=none schemes=reward_to_go discounting=reward_to_go batch=16 "
        "episodes=4000"
    )
    reward_to_go = study(line)["schemes"]["reward_to_go"]
    variance, variance_se = (16 / EPISODES * reward_to_go[key] for key in ("variance", "variance_se"))
    assert abs(logged - variance) < 4 * math.hypot(error, variance_se)
    assert abs(logged / 2 - variance) > 4 * math.hypot(error / 2, variance_se), "half of it would not do"
