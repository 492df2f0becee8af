"""Commands as a user types them: in this process, or in one of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pgrun.cli import main as cli
from tests.helpers.support_fork import ForkedCommand

QUICK = "trainer.total_steps=200 trainer.eval_every=null trainer.eval_episodes=2 logger.progress=false"

MODULE = '''
import sys
from dataclasses import dataclass
from typing import ClassVar
import gymnasium as gym
import numpy as np
from pgrun.variance.base import Discounted, returns_to_go

@dataclass(frozen=True)
class HalfReturn(Discounted):
    """Half of the return."""
    factor: float = 0.5
    whole_episodes: ClassVar[bool] = True
    def psi(self, rollout, value, gamma):
        return self.factor * returns_to_go(rollout, value, gamma)

class Plain:
    """No scheme."""

class Line(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    def __init__(self, trouble=None):
        self.trouble = trouble
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}
    def step(self, action):
        self.t += 1
        if self.trouble == "leave":
            sys.exit(0)
        if self.trouble == "crash":
            raise ValueError("the line is cut")
        if self.trouble == "interrupt":
            raise KeyboardInterrupt
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), float(action), self.t >= 10, False, {}

class Whole(Line):
    action_space = gym.spaces.Box(0, 3, (1,), np.int64)

class Refusing(Line):
    def __init__(self):
        raise RuntimeError("no licence")

gym.register("Line-v0", Line)
gym.register("space/Line-v0", Line)
gym.register("Whole-v0", Whole)
gym.register("Refusing-v0", Refusing)
'''


@dataclass
class Answer:
    code: int
    out: str
    err: str


def pgrun(line: str) -> Answer:
    """The command in this process."""
    return answer(cli.main, "pgrun", *shlex.split(line))


def answer(main: Callable[[], None], *words: str) -> Answer:
    """What a console script's function does with these words, in this process."""
    out, err = io.StringIO(), io.StringIO()
    typed, sys.argv = sys.argv, list(words)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as left:
        return Answer(int(left.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.argv = typed
    raise AssertionError("main() always exits")


def in_fork(line: str, main: Callable[[], None] = cli.main, program: str = "pgrun") -> Answer:
    """The command in a fork of this process: as good as one of its own, but that everything is imported."""
    command = ForkedCommand(main, shlex.split(line), program)
    return Answer(command.wait(), *command.said())


def shell(line: str, *, python: str | None = None, **variables: str) -> Answer:
    """The command in a process of its own; ``python``: code that runs before it."""
    code = f"import sys\n{python or ''}\nfrom pgrun.cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, *shlex.split(line)],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def users_own(folder: Path) -> None:
    """A module, and a folder of options for it."""
    (folder / "my_mod.py").write_text(MODULE)
    for group, name, text in (
        ("variance", "half_return", "name: half_return\ndiscounting: reward_to_go\nfactor: 0.5\n"),
        ("variance", "plain", "name: plain\n"),
        ("env", "Pendulum-v1", "id: Pendulum-v1\nnum_envs: 3\nmax_episode_steps: 7\nkwargs: {}\n"),
    ):
        path = folder / "myconf" / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
