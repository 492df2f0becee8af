"""An environment that misbehaves in one job of a sweep, when a file says so, and counts its steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from support_cli import Answer

MODULE = """
import os, signal, sys, time
from pathlib import Path
import gymnasium as gym
import numpy as np

def segfault():
    import ctypes
    ctypes.string_at(0)

FAULTS = {
    "raise": lambda: 1 / 0,
    "exit": lambda: sys.exit(0),
    "leave": lambda: os._exit(7),
    "abort": os.abort,
    "segfault": segfault,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "sleep": lambda: time.sleep(0.02),
}

def faults():
    path = Path("fault")
    return dict(line.split() for line in path.read_text().splitlines()) if path.exists() else {}

class Faulty(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    def __init__(self, who=0):
        self.who = who
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}
    def step(self, action):
        self.t += 1
        with open(f"steps-{self.who}", "a") as file:
            file.write(".")
        FAULTS.get(faults().get(str(self.who)), float)()
        noise = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return noise, float(action) + 0.1 * noise[0], self.t >= 10, False, {}

gym.register("Faulty-v0", Faulty)
"""

LINE = (
    "env=faulty:Faulty-v0 env.num_envs=2 env.kwargs.who='${seed}' algo=a2c sampler.steps=8 network.hidden=[4] "
    "trainer.total_steps=128 trainer.eval_every=null trainer.eval_episodes=1 logger.progress=false hydra.sweep.dir=s"
)


def results(sweep: Path) -> list[dict]:
    """summary.json of each job, in the order of their folders."""
    folders = sorted(
        (path for path in sweep.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)
    )
    return [json.loads((folder / "summary.json").read_text()) for folder in folders]


def said(answer: Answer) -> list[str]:
    """What pgrun itself says at the end."""
    return [line for line in answer.err.splitlines() if line.startswith("pgrun: ")]


def steps(here: Path) -> Iterator[int]:
    """Executed in each job so far, evaluation included."""
    for path in sorted(here.glob("steps-*")):
        yield path.stat().st_size
