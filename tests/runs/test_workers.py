"""The processes of a sweep: nothing of the folder it is started in is imported, and they end with it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from support_faults import LINE, MODULE, results

import pgrun as pgrun_package
from pgrun.config.import_path import safe_import_path
from pgrun.runs.workers import Owner
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

CONSOLE = (
    Path(sys.executable).parent / "pgrun"
)  # what a user starts: ``python -c`` would have '' on its path itself
QUICK = (
    "algo=a2c network.hidden=[4] sampler.steps=8 env.num_envs=2 trainer.total_steps=16 "
    "trainer.eval_every=null trainer.eval_episodes=1 logger.progress=false"
)
MARK = (
    "import os\nwith open({mark!r}, 'a') as file:\n    file.write(__name__ + '\\n')\nraise "
    "ImportError(__name__ + ' of the folder')\n"
)


DOORS = """
import gymnasium as gym
import numpy as np

class Doors(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(2, np.float32), float(action), self.t > 9, False, {}

gym.register("Doors-v0", Doors)
"""


def plant_modules(folder: Path, mark: Path) -> None:
    """A file for each module of the standard library and of what is installed:
    imported, it leaves its name and fails.
    """
    names = {*sys.stdlib_module_names, *packages_distributions()} - {"__main__"}
    for name in names:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(MARK.format(mark=str(mark)))


@pytest.mark.slow
@pytest.mark.parametrize("own", ["", "env=my_doors:Doors-v0 env.vector=async"], ids=["ours", "their_own"])
@pytest.mark.parametrize("launcher", ["", "hydra/launcher=parallel", "hydra/launcher=local"])
def test_a_sweep_imports_nothing_from_its_folder(launcher: str, own: str, tmp_path: Path) -> None:
    """But the environment that its command names, whose processes import nothing else from there."""
    mark, folder = tmp_path / "imported", tmp_path / "work"
    folder.mkdir()
    plant_modules(folder, mark)
    (folder / "my_doors.py").write_text(DOORS)
    words = f"-m {launcher} seed=0,1 hydra.sweep.dir=s {QUICK} tuned=none {own}".split()
    done = subprocess.run([CONSOLE, *words], cwd=folder, capture_output=True, text=True, timeout=300)
    assert not mark.exists(), mark.read_text()
    assert done.returncode == 0, done.stderr
    assert [result["status"] for result in results(folder / "s")] == ["finished", "finished"]


def test_a_new_python_looks_into_the_current_folder_unless_it_is_told_not_to(tmp_path: Path) -> None:
    """The means itself, with its negative control."""
    (tmp_path / "csv.py").write_text("print('of the folder')")

    def imported() -> str:
        command = [sys.executable, "-c", "import csv"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout

    assert "of the folder" in imported()
    with safe_import_path():
        assert imported() == ""
    assert "of the folder" in imported()


def test_every_module_that_starts_processes_says_what_they_import() -> None:
    package = Path(pgrun_package.__file__).parent
    starts = re.compile(r"get_context\(|ProcessPoolExecutor\(|Popen\(|sys\.executable")
    texts = {path: path.read_text() for path in package.rglob("*.py")}
    starting = {path for path, text in texts.items() if starts.search(text)}
    assert len(starting) >= 3
    assert {path for path in starting if "safe_import_path()" not in texts[path]} == set()


def test_a_worker_knows_whether_its_owner_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGRUN_SWEEP", raising=False)
    assert not Owner().is_gone()
    monkeypatch.setenv("PGRUN_SWEEP", str(os.getpid()))
    assert Owner().pid is None, "the sweep's own process is nobody's worker"
    monkeypatch.setenv("PGRUN_SWEEP", str(os.getppid()))
    assert not Owner().is_gone()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setenv("PGRUN_SWEEP", str(ended.pid))
    assert Owner().is_gone()


@pytest.fixture
def faulty(here: Path) -> Path:  # noqa: F811
    (here.parent / "faulty.py").write_text(MODULE)
    return here


def processes_of(folder: Path) -> list[int]:
    """Those whose working directory is ``folder``."""
    collected = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and Path(os.readlink(process / "cwd")) == folder:
                collected.append(int(process.name))
        except OSError:  # ended meanwhile
            continue
    return collected


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize(
    ("launcher", "at_once"),
    [("hydra/launcher=parallel hydra.launcher.n_jobs=2", 2), ("hydra/launcher=local", 3)],
)
def test_jobs_end_with_a_sweep_that_is_killed(
    launcher: str, at_once: int, faulty: Path, tmp_path: Path
) -> None:
    """SIGKILL of the sweep's process: the running jobs save themselves, queued ones
    do not start, no process stays.
    """
    work = tmp_path / "alone"
    work.mkdir()
    (work / "fault").write_text("\n".join(f"{n} slow" for n in range(6)))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    seeds = "0,1,2,3,4,5" if at_once == 2 else "0,1,2"  # submitit starts all at once
    line = f"-m {launcher} seed={seeds} {LINE}".replace("total_steps=128", "total_steps=100000")
    sweep = subprocess.Popen([CONSOLE, *shlex.split(line)], cwd=work, env=environment)
    saved = "[0-9]_*/checkpoints/*.json"
    wait_for(lambda: len({path.parent for path in (work / "s").glob(saved)}) == at_once)
    begun = {path.parent for path in (work / "s").glob("[0-9]_*/job.json")}
    assert len(begun) == at_once
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    wait_for(lambda: not processes_of(work))
    assert {path.parent for path in (work / "s").glob("[0-9]_*/job.json")} == begun
    assert all(any((job / "checkpoints").glob("*.json")) for job in begun)


def wait_for(reached, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_second_sweep_in_a_folder_is_refused(faulty: Path) -> None:
    """While the first runs; what it does is not touched."""
    import fcntl

    (faulty / "s").mkdir()
    with (faulty / "s" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = pgrun(f"-m seed=0,1 {LINE}")
        assert answer.code == 2
        assert "another sweep is running there" in answer.err
        assert [path.name for path in (faulty / "s").iterdir()] == [".lock"]
        for begun in ("multirun.yaml", "search.json"):  # its own files are no second reason
            (faulty / "s" / begun).touch()
            answer = pgrun(f"-m seed=0,1 {LINE}")
            assert (answer.code, len(answer.err.splitlines())) == (2, 1)
            assert "another sweep is running there" in answer.err


def test_a_signal_of_an_earlier_sweep_does_not_stop_the_next(faulty: Path) -> None:
    """After Ctrl-C and the removal of its jobs' folders the same command runs again."""
    (faulty / "s").mkdir()
    (faulty / "s" / ".stop").write_text(str(int(signal.SIGINT)))
    answer = pgrun(f"-m seed=0,1 {LINE}")
    assert answer.code == 0, answer.err
    assert [result["status"] for result in results(faulty / "s")] == ["finished", "finished"]
