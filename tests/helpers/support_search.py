"""An environment whose return is known in closed form, and searches of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pgrun.command.folder_names import find_job_folder

MODULE = """
import os, time
from pathlib import Path
import gymnasium as gym
import numpy as np

class Peak(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    def __init__(self, x=0.0, who=0, kind="flat"):
        self.x, self.who, self.kind = x, who, kind
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        if self.kind == "broken":
            raise ValueError("this kind is broken")
        with open(f"steps-{self.x}-{self.who}", "a") as file:
            file.write(".")
        if Path("slow").exists():
            time.sleep(0.02)
        return np.zeros(2, np.float32), -(self.x - 0.3) ** 2 + 0.01 * self.who, True, False, {}

gym.register("Peak-v0", Peak)
"""

LINE = (
    "-m hydra/sweeper=optuna env=peak:Peak-v0 env.num_envs=2 env.kwargs.who='${seed}' algo=a2c "
    "sampler.steps=8 network.hidden=[2] backend=torch trainer.total_steps=32 trainer.eval_every=null "
    "trainer.eval_episodes=1 trainer.checkpoint_every=16 logger.progress=false hydra.sweep.dir=s"
)
X = "env.kwargs.x=interval(0,1)"


def value(x: float, seeds: list[int]) -> float:
    """Mean over seeds of the return of an episode of one step."""
    return -((x - 0.3) ** 2) + 0.01 * sum(seeds) / len(seeds)


def record(sweep: Path) -> dict[str, Any]:
    return json.loads((sweep / "search.json").read_text())


def tried(sweep: Path) -> list[float]:
    return [trial["++env.kwargs.x"] for trial in record(sweep)["trials"]]


def summaries(sweep: Path) -> list[dict[str, Any]]:
    return [
        json.loads((find_job_folder(sweep, n) / "summary.json").read_text()) for n in range(len(tried(sweep)))
    ]


def steps(here: Path) -> dict[str, int]:
    """Executed so far, by parameter and seed."""
    return {path.name: path.stat().st_size for path in here.glob("steps-*")}
