"""An environment that misbehaves in one job of a sweep, when a file says so, and counts its steps."""

from __future__ import annotations

import csv
import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pgrun.cli.main import main
from pgrun.command.folder_names import find_job_folders
from tests.helpers.support_cli import Answer
from tests.helpers.support_fork import ForkedCommand

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
    "slow": lambda: time.sleep(0.02),
    "crawl": lambda: time.sleep(0.1),
    "stuck": lambda: (Path("pid").write_text(str(os.getpid())), time.sleep(1000)),
}

def faults():
    try:
        return dict(line.split() for line in Path("fault").read_text().splitlines())
    except FileNotFoundError:
        return {}

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
    "env=faulty:Faulty-v0 env.num_envs=2 env.kwargs.who='${seed}' algo=a2c sampler.steps=8 "
    "network.hidden=[4] backend=torch trainer.total_steps=128 trainer.eval_every=null "
    "trainer.eval_episodes=1 trainer.checkpoint_every=16 logger.progress=false hydra.sweep.dir=s"
)
EPISODE = 10  # steps


def results(sweep: Path) -> list[dict[str, Any]]:
    """summary.json of each job, in the order of their folders."""
    folders = sorted(find_job_folders(sweep).items())
    return [json.loads((folder / "summary.json").read_text()) for _, folder in folders]


def told(folder: Path) -> tuple[Any, ...]:
    """All that a run leaves but times: parameters, evaluation, rows."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = [
        {key: x for key, x in row.items() if not key.startswith("time/")}
        for row in csv.DictReader((folder / "metrics.csv").open())
    ]
    return summary["params_sha256"], summary["eval"], summary["env_steps"], rows


def said(answer: Answer) -> list[str]:
    """What pgrun itself says at the end."""
    return [line for line in answer.err.splitlines() if line.startswith("pgrun: ")]


def steps(here: Path, who: int) -> int:
    """Executed in a job so far, evaluation included."""
    path = here / f"steps-{who}"
    return path.stat().st_size if path.exists() else 0


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def until(condition: Callable[[], object], seconds: float = 300) -> bool:
    """Whether it comes true; five minutes are far more than anything here takes."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class Sweep:
    """A command under way, in a process and a session of its own; what it was when it ended."""

    def __init__(self, line: str):
        self.process = ForkedCommand(main, shlex.split(line))

    def wait_for(self, condition: Callable[[], object]) -> None:
        assert until(lambda: condition() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.said()

    def saved(self, folder: Path) -> int:
        """Environment steps at the newest checkpoint."""
        return max((int(path.stem) for path in folder.glob("checkpoints/*.json")), default=0)

    def kill(self, number: int, group: bool) -> None:
        (os.killpg if group else os.kill)(self.process.pid, number)

    def answer(self, seconds: float = 300) -> Answer:
        return Answer(self.process.wait(seconds), *self.process.said())
