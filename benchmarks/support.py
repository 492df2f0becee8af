"""Running pgrun inside a benchmark's process, on one thread."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import torch
from hydra import compose, initialize_config_dir

from pgrun.command.compose import conf_dir, to_plain_settings
from pgrun.command.hydra_env import register_config_sources
from pgrun.training.build import build_run
from pgrun.training.loop import train_run


def settings_of(*overrides: str) -> dict[str, Any]:
    """A composed configuration without evaluations under way."""
    quiet = ["trainer.eval_every=null", "trainer.eval_episodes=1", "logger.progress=false"]
    register_config_sources()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return to_plain_settings(compose("config", overrides=[*overrides, *quiet]))


def steps_per_second(*overrides: str) -> float:
    """Of one run, set-up and evaluation outside the clock; logged to TensorBoard and CSV as always."""
    settings = settings_of(*overrides)
    with tempfile.TemporaryDirectory() as folder:
        speed = train_run(build_run(settings), Path(folder))["env_steps_per_second"]
    torch.set_grad_enabled(True)  # for the peers
    return speed
