"""Charts of runs that never were: healthy ones, of which one thing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pgrun.analysis.compare.metrics import Metrics
from pgrun.analysis.doctor.known_symptoms import find_symptoms
from pgrun.analysis.doctor.run_data import Chart

ROWS = 60
SETTINGS: dict[str, Any] = {
    "algo.name": "ppo",
    "algo.epochs": 10,
    "algo.entropy": 0.0,
    "variance.name": "gae",
    "env.id": "CartPole-v1",
    "env.num_envs": 8,
    "sampler.name": "steps",
    "sampler.steps": 128,
    "gamma": 0.99,
    "state_norm": False,
    "reward_scaling": False,
    "optimizer.lr": "3e-4",
    "critic.optimizer.lr": 1e-3,
    "critic.epochs": 10,
    "network.log_std": -0.5,
    "trainer.total_steps": 60_000,
}
FLAT = {"return/train": np.full(ROWS, 20.0)}  # with the noise of ``chart``
RISING = {"return/train": np.linspace(20, 200, ROWS)}


def chart(scalars: Mapping[str, Any] = {}, settings: Mapping[str, Any] = {}, **more: Any) -> Chart:
    """A PPO run that learns, with some scalars and settings of your own; a number
    stands for a whole column.
    """
    columns: dict[str, Any] = {
        "episode/length": 100,
        "episode/count": 10 * np.arange(1, ROWS + 1),
        "kl/old_new": 0.01,
        "kl/max": 0.05,
        "ratio/ess": 0.98,
        "ratio/clip_fraction": 0.1,
        "policy/entropy": np.linspace(0.69, 0.3, ROWS),
        "gradient/snr": 1.0,
        "value/loss": 8.0,
        "value/mean": 40.0,
        "value/explained_variance": 0.7,
        **RISING,
        **scalars,
    }
    collected = {tag: np.broadcast_to(np.asarray(column, float), ROWS) for tag, column in columns.items()}
    noise = np.random.default_rng(0).normal(0, 2, ROWS)
    if np.ptp(collected["episode/count"]):
        collected["return/train"] = collected["return/train"] + noise * (not more.pop("exact", False))
    steps = 1000 * np.arange(1, ROWS + 1)
    summary = {"status": "finished", "env_steps": 60_000, "updates": ROWS, **more.pop("summary", {})}
    metrics = Metrics(steps, collected, tuple(collected))
    return Chart(Path("run"), {**SETTINGS, **settings}, summary, metrics, **more)


def named(of: Chart) -> list[str]:
    return [finding.name for finding in find_symptoms(of)]
