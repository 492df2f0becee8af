"""Columns in processes: the numbers, the checkpoints and the faults of one loop over all columns."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pgrun.config.user_modules import import_user_module
from pgrun.envs.faults import ColumnFault
from pgrun.envs.make import EnvSettings, make_envs, make_probed_env
from pgrun.envs.parallel import Parallel
from pgrun.envs.vector import Envs, Loop
from pgrun.errors import EnvironmentFault, InvalidCommand
from pgrun.terminal import cores
from tests.helpers.support_cli import pgrun

MODULE = """
import gymnasium as gym
import numpy as np

class Odd(gym.Env):
    observation_space = gym.spaces.Box(-9, 9, (2,), np.float64)
    action_space = gym.spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.length = 0, int(self.np_random.integers(3, 9))
        return self.np_random.uniform(-1, 1, 2), {}

    def step(self, action):
        self.t += 1
        obs = self.np_random.uniform(-1, 1, 2)
        if action == 2 and obs[0] > 0.9:
            raise ValueError("no such door")
        return obs, obs[1] + action, self.t >= self.length, self.t == 5, {}

gym.register("Odd-v0", Odd)
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A module of the user's in the folder that the run is started in."""
    here, before = tmp_path_factory.mktemp("user"), os.getcwd()
    (here / "odd_doors.py").write_text(MODULE)
    for name in ("csv", "nt"):  # nt: Python itself looks for it, and only Windows has it
        (here / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    os.chdir(here)
    import_user_module("odd_doors")
    yield "Odd-v0"
    os.chdir(before)
    sys.path.remove(str(here))


@pytest.fixture(scope="module")
def made(module: str) -> Iterator[list[Envs]]:
    """In two processes, in one loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
        envs = [make_envs(EnvSettings(module, 3, vector=kind), 3) for kind in ("async", "loop")]  # type: ignore[arg-type]
        for one in envs:
            one.reset([1, 2, 3])
    yield envs
    for one in envs:
        one.close()


@pytest.fixture
def pair(made: list[Envs]) -> tuple[Envs, Envs]:
    """Both reset."""
    assert isinstance(made[0], Parallel)
    assert isinstance(made[1], Loop)
    for envs in made:
        envs.reset([5, 6, 7])
    return made[0], made[1]


def step_alike(one: Envs, two: Envs, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(count):
        action = random.integers(0, 2, 3)
        for x, y in zip(one.step(action), two.step(action), strict=True):
            assert np.array_equal(x, y)
        assert np.array_equal(one.obs, two.obs)
        assert np.array_equal(one.ended, two.ended)


def step_into_fault(envs: Envs) -> None:
    for _ in range(400):
        envs.step(np.full(3, 2))


def test_they_are_the_loop(pair: tuple[Envs, Envs]) -> None:
    """And what one has saved the other goes on from; a module of the folder's stands in nobody's way."""
    one, two = pair
    step_alike(one, two, 40, 0)
    one.active[:] = two.active[:] = [True, False, True]
    step_alike(one, two, 5, 1)
    saved, other = one.state_dict(), two.state_dict()
    assert saved.keys() == other.keys()
    step_alike(one, two, 7, 2)
    one.load_state_dict(other)
    two.load_state_dict(saved)
    step_alike(one, two, 20, 3)


def test_a_fault_is_told_as_the_loop_tells_it(pair: tuple[Envs, Envs]) -> None:
    texts = []
    for envs in pair:
        with pytest.raises(ColumnFault) as raised:
            step_into_fault(envs)
        texts.append((raised.value.column, raised.value.step, raised.value.reason))
    assert texts[0] == texts[1]
    assert "odd_doors.py" in texts[0][2]
    assert "no such door" in texts[0][2]


def test_a_process_that_dies_is_told(pair: tuple[Envs, Envs]) -> None:
    """The last of those that share it."""
    envs = pair[0]
    assert isinstance(envs, Parallel)
    os.kill(envs.workers[1].process.pid or 0, signal.SIGKILL)
    with pytest.raises(ColumnFault, match="its process ended with SIGKILL") as raised:
        envs.step(np.zeros(3, np.int64))
    assert raised.value.column == 1
    with pytest.raises(EnvironmentFault, match="column 1"):
        envs.reset([1, 2, 3])


def test_it_is_refused_where_all_columns_are_one_program(tmp_path: Path) -> None:
    for name in ("CartPole-v1", "FrozenLake-v1"):
        with pytest.raises(InvalidCommand, match=r"env\.vector=async: .* leave env\.vector out"):
            make_probed_env(EnvSettings(name, 2, vector="async"))


def test_no_more_processes_than_cores_are_allowed(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(cores.CORE_LIMIT, "most", 1)
    envs = make_envs(EnvSettings(module, 3, vector="async"), 3)
    assert isinstance(envs, Parallel)
    assert len(envs.shares) == 1
    envs.close()


@pytest.mark.parametrize("words", ["critic=exact variance=td0", "diagnostics.exact=true"])
def test_what_follows_states_is_refused(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns are in other processes, which do not tell their states."""
    monkeypatch.chdir(tmp_path)
    answer = pgrun(f"algo=a2c env=support_odd_envs:Tabular-v0 env.vector=async {words}")
    assert (answer.code, "which do not tell its states" in answer.err) == (2, True), answer.err
