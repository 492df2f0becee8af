"""pgrun from Python: the command's own runs, its refusals as exceptions, and a
process that is afterwards as it was.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import pgrun
from pgrun.api.process import kept_numpy, kept_torch, set_openblas_threads
from pgrun.config.paths import conf_dir
from pgrun.config.random_streams import draw_env_seeds, make_streams
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, in_fork, users_own

WORDS = "algo=ppo env=pgrun/LQ1-v0 state_norm=true network.hidden=[8] sampler.steps=10"
SETTINGS = {"trainer.total_steps": 400, "trainer.eval_every": 200, "trainer.eval_episodes": 3}
LINE = f"{WORDS} seed=5 {' '.join(f'{key}={value}' for key, value in SETTINGS.items())}"

MODULE = '''
import signal
from dataclasses import dataclass
import gymnasium as gym
from pgrun.policies.policy import Separate

class Halting(gym.Env):
    """Somebody presses Ctrl-C, once."""
    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)
    calm = False
    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return 0, {}
    def step(self, action):
        self.t += 1
        if not Halting.calm:
            Halting.calm = True
            signal.raise_signal(signal.SIGINT)
        return self.t % 2, float(action), self.t >= 5, False, {}

@dataclass(frozen=True)
class Mine(Separate):
    """A network of one's own."""

gym.register("Halting-v0", Halting)
'''


def trained(folder: Path) -> pgrun.RunResult:
    return pgrun.train(WORDS, seed=5, folder=folder, quiet=True, **SETTINGS)


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("door")


@pytest.fixture(scope="module")
def run(top: Path) -> pgrun.RunResult:
    """In a thread of its own, as a notebook's kernel may run a cell."""
    results: list[pgrun.RunResult] = []
    thread = threading.Thread(target=lambda: results.append(trained(top / "run")))
    thread.start()
    thread.join()
    return results[0]


@pytest.fixture(scope="module")
def typed(top: Path) -> Path:
    """The same run from the shell."""
    assert in_fork(f"{LINE} hydra.run.dir={top}/typed logger.progress=false").code == 0
    return top / "typed"


@pytest.fixture
def odd_process(tmp_path: Path) -> Iterator[logging.Handler]:
    """A process in which somebody has been at work: a log file of theirs, doubles, a Hydra of their own."""
    handler = logging.FileHandler(tmp_path / "theirs.log", mode="w")
    logging.root.addHandler(handler)
    torch.set_default_dtype(torch.float64)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield handler
    torch.set_default_dtype(torch.float32)
    logging.root.removeHandler(handler)
    handler.close()


def state_of_process() -> dict[str, Any]:
    return {
        "arguments": (id(sys.argv), sys.argv[:]),
        "environment": dict(os.environ),
        "logging": (logging.root.handlers[:], logging.root.level),
        "torch": (torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()),
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "hydra": GlobalHydra.instance().hydra,
        "streams": (sys.stdout, sys.stderr),
        "folder": os.getcwd(),
    }


def rows_without_time(folder: Path) -> list[dict[str, str]]:
    rows = csv.DictReader((folder / "metrics.csv").open())
    return [{tag: cell for tag, cell in row.items() if not tag.startswith("time/")} for row in rows]


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import pgrun, sys; print(sorted({'torch', 'hydra', 'numpy', 'omegaconf'} & set(sys.modules)), "
        "'train' in dir(pgrun))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"
    assert all(hasattr(pgrun, name) for name in pgrun.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        pgrun.trian  # noqa: B018


def test_a_run_is_the_command_s_and_leaves_the_process_as_it_was(
    run: pgrun.RunResult, typed: Path, top: Path, odd_process: logging.Handler
) -> None:
    before = state_of_process()
    again = trained(top / "again")
    assert state_of_process() == before
    assert odd_process in [ref() for ref in logging._handlerList]  # which are closed when Python ends
    logging.getLogger("theirs").error("written")
    assert "written" in Path(odd_process.baseFilename).read_text()

    summary = json.loads((typed / "summary.json").read_text())
    assert run.summary["params_sha256"] == again.summary["params_sha256"] == summary["params_sha256"]
    assert rows_without_time(run.folder) == rows_without_time(again.folder) == rows_without_time(typed)


def test_what_a_result_holds(run: pgrun.RunResult, top: Path) -> None:
    assert run.folder == top / "run"
    assert run.summary == json.loads((run.folder / "summary.json").read_text())
    assert run.settings["optimizer"]["name"] == "adam"
    written = list(csv.DictReader((run.folder / "metrics.csv").open()))
    assert run.metrics == [{k: float(x) if x else None for k, x in row.items()} for row in written]
    assert any(cell is None for row in run.metrics for cell in row.values())
    assert "metrics" not in repr(run)


def test_its_policy_plays_as_the_run_was_evaluated(run: pgrun.RunResult) -> None:
    env = gym.make("pgrun/LQ1-v0")
    returns = []
    for seed in draw_env_seeds(make_streams(5, "cpu").evaluation, 3):
        obs, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(run.policy.act(obs))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    # float32 forwards of one row and of three differ in their last bits
    assert np.mean(returns) == pytest.approx(run.summary["eval"]["return_mean"], rel=1e-5)


def test_it_is_played_as_the_command_does(run: pgrun.RunResult, odd_process: logging.Handler) -> None:
    before = state_of_process()
    own = run.play()
    assert state_of_process() == before
    evaluation = run.summary["eval"]
    assert len(own.returns) == len(own.lengths) == evaluation["episodes"]
    assert float(np.mean(own.returns)) == pytest.approx(evaluation["return_mean"], rel=1e-12)  # a sum's order
    others = run.play(episodes=4, seed=9)
    assert len(others.returns) == 4
    assert others.returns != run.play(episodes=4, seed=9, stochastic=True).returns
    assert others.returns == run.play(episodes=4, seed=9).returns
    assert run.play(episodes=2, max_steps=3).lengths == [3, 3]
    with pytest.raises(pgrun.InvalidCommand, match="--episodes"):
        run.play(episodes=0)


@pytest.mark.parametrize("load", [pgrun.load, pgrun.load_runs])
@pytest.mark.parametrize("folder", [None, ["a", "b"], 3])
def test_what_is_no_path_is_refused(load: Callable[[Any], Any], folder: object) -> None:
    with pytest.raises(pgrun.errors.InvalidCommand, match="must be a path: call it once for each"):
        load(folder)


def test_a_policy_without_masks_takes_none_and_a_seed_is_a_whole_number(run: pgrun.RunResult) -> None:
    obs = [0.0] * 2
    for given, said in (
        ({"action_mask": [1, 0]}, "was trained without env.action_mask"),
        ({"sample": True, "seed": "a"}, "seed='a': must be a whole number ≥ 0"),
        ({"sample": True, "seed": -1}, "seed=-1: must be a whole number ≥ 0"),
    ):
        with pytest.raises(ValueError, match=said):
            run.policy.act(obs, **given)


def test_finished_runs_are_loaded(run: pgrun.RunResult, top: Path, tmp_path: Path) -> None:
    loaded = pgrun.load(str(run.folder))
    assert (loaded.summary, loaded.metrics, loaded.settings) == (run.summary, run.metrics, run.settings)
    for which, stem in (("final", "policy"), ("best", "best_policy")):
        theta = pgrun.load(run.folder, policy=which).policy.policy.theta  # type: ignore[arg-type]
        from safetensors.torch import load_file

        assert torch.equal(theta, load_file(run.folder / f"{stem}.safetensors")["theta"])

    shutil.copytree(run.folder, tmp_path / "sweep" / "0")
    shutil.copytree(run.folder, tmp_path / "sweep" / "1")
    (tmp_path / "sweep" / "1" / "summary.json").unlink()
    with pytest.warns(UserWarning, match="left out: .*1: holds no finished run: killed"):
        (only,) = pgrun.load_runs(tmp_path / "sweep")
    assert only.summary == run.summary

    several = {"status": "finished", "runs": [{"seed": 0, "status": "finished", "return_mean": 1.0}]}
    (tmp_path / "sweep" / "summary.json").write_text(json.dumps({**several, "eval": {"return_mean": 1.0}}))
    (tmp_path / "empty").mkdir()
    for folder, said in (
        ("sweep/1", "holds no finished run: killed: died without a word"),
        ("sweep", "a run for each of the seeds 0: pgrun.load_runs"),
        ("empty", "there is no summary.json in it"),
        ("nowhere", "no such folder"),
    ):
        with pytest.raises(pgrun.InvalidCommand, match=said):
            pgrun.load(tmp_path / folder)
    with pytest.raises(pgrun.InvalidCommand, match="no finished run in it or below"):
        pgrun.load_runs(tmp_path / "empty")


def test_a_policy_that_there_is_not_is_refused_where_it_is_named(run: pgrun.RunResult) -> None:
    for odd, shown in (("worst", "policy=worst"), (["best"], r"policy=\['best'\]"), (None, "policy")):
        with pytest.raises(pgrun.InvalidCommand, match=f"^{shown}: must be final or best$"):
            pgrun.load(run.folder, policy=odd)  # type: ignore[arg-type]


def test_in_a_folder_that_was_deleted(
    run: pgrun.RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is named from / is read; all else is answered as the commands do."""
    (tmp_path / "gone").mkdir()
    monkeypatch.setenv("PWD", str(tmp_path))  # of the shell, which Python's chdir does not change
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")
    before = sys.argv[:], sys.stdout, logging.root.handlers[:]
    for work in (
        lambda: pgrun.train("algo=ppo", quiet=True),
        lambda: pgrun.train("algo=ppo", folder=tmp_path / "r", quiet=True),
        lambda: pgrun.train("resume=last", quiet=True),
        lambda: pgrun.study("env=pgrun/OneState-v0", quiet=True),
        lambda: pgrun.load("last"),
        lambda: pgrun.load("outputs/mine"),
        lambda: pgrun.load_runs("outputs"),
        lambda: pgrun.load_runs("outputs/*"),
        lambda: run.play(episodes=1, video="films"),
    ):
        with pytest.raises(pgrun.InvalidCommand) as refused:
            work()
        assert str(refused.value) == "the current folder no longer exists: cd to a folder that does"
    assert (sys.argv[:], sys.stdout, logging.root.handlers[:]) == before
    loaded = pgrun.load(run.folder)
    assert loaded.summary == run.summary
    assert loaded.policy.act(np.zeros(1, np.float32)) is not None
    assert len(pgrun.load_runs(run.folder)) == 1
    assert run.play(episodes=1).lengths


def test_ctrl_c_saves_the_run_and_own_code_is_named_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halting.py").write_text(MODULE)
    (tmp_path / "conf" / "network").mkdir(parents=True)
    (tmp_path / "conf" / "network" / "mine.yaml").write_text("name: mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"env": "halting:Halting-v0", "modules": ["halting"]}
    tiny = {"trainer.total_steps": 100, "trainer.eval_episodes": 1, "network": "mine", "sampler.steps": 2}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pgrun.train(folder=tmp_path / "r", config_dir=tmp_path / "conf", quiet=True, **own, **tiny)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(pgrun.InvalidCommand, match="holds no finished run: interrupted: stopped by Ctrl-C"):
        pgrun.load(tmp_path / "r")

    run = pgrun.train(resume=tmp_path / "r", quiet=True, **own)
    assert run.folder == tmp_path / "r"
    assert run.policy.act(1) in (0, 1)
    with pytest.raises(pgrun.InvalidCommand, match=r"named again: add env=halting:.*modules=\[halting\]"):
        pgrun.load(tmp_path / "r").policy  # noqa: B018
    assert pgrun.load(tmp_path / "r", **own).policy.act(1) == run.policy.act(1)
    sys.modules.pop("halting")
    gym.registry.pop("Halting-v0")


def test_openblas_has_the_threads_of_the_command_meanwhile() -> None:
    theirs = set_openblas_threads(2)
    if theirs is None:
        pytest.skip("NumPy has no OpenBLAS of its own here")
    with kept_numpy(["seed=1", "threads=3"]):
        assert set_openblas_threads(3) == 3
    assert set_openblas_threads(theirs) == 2


def test_torch_modules_begin_in_float32_meanwhile() -> None:
    """The numbers that a network of one's own draws hang on the type that they are drawn in."""
    torch.set_default_dtype(torch.float64)
    try:
        with kept_torch():
            assert torch.nn.Linear(1, 1).weight.dtype == torch.float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_study_is_a_record(tmp_path: Path) -> None:
    words = "env=pgrun/OneState-v0 episodes=200 repeats=1 'schemes=[none,mean_baseline]' picture=false"
    study = pgrun.study(words, folder=tmp_path / "s", quiet=True)
    assert study.result == json.loads((tmp_path / "s" / "study.json").read_text())
    assert [row["scheme"] for row in study.rows] == ["none", "mean_baseline"]
    assert study.rows[0]["variance"] == study.result["schemes"]["none"]["variance"] > 0
    with pytest.raises(
        pgrun.InvalidCommand, match="seed=1,2: several values are a sweep: type pgrun-study -m"
    ):
        pgrun.study("seed=1,2")


def test_a_fault_of_the_environment_is_an_exception(here: Path) -> None:  # noqa: F811
    before = state_of_process()
    with pytest.raises(pgrun.EnvironmentFault, match=r"column 0, episode 0, step 1: .*the line is cut"):
        pgrun.train(env="my_mod:Line-v0", folder="r", quiet=True, **{"env.kwargs": {"trouble": "crash"}})
    assert state_of_process() == before
    with pytest.raises(pgrun.InvalidCommand, match=r"holds no finished run: failed: .*the line is cut"):
        pgrun.load("r")


def test_a_class_of_another_tool_is_answered_with_what_to_type() -> None:
    with pytest.raises(
        AttributeError, match=r"no attribute 'PPO': pgrun\.train\('algo=ppo env=CartPole-v1'\)"
    ):
        pgrun.PPO  # noqa: B018


def test_a_script_that_processes_would_run_again_is_told(tmp_path: Path) -> None:
    """``env.vector=async`` starts processes that import the script: without a guard each would train."""
    users_own(tmp_path)
    words = f"algo=a2c env=my_mod:Line-v0 env.num_envs=1 env.vector=async {QUICK}"
    (tmp_path / "script.py").write_text(
        f"import pgrun\nprint('begins')\ntry:\n    pgrun.train({words!r}, quiet=True)\n"
        "except Exception as error:\n    print(error)\n"
    )
    script = [sys.executable, "script.py"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)
    begun, again, told = done.stdout.splitlines()
    assert (begun, again) == ("begins", "begins")
    assert told.startswith("env.vector=async: starts processes, each of which runs your script again")
    assert 'if __name__ == "__main__":' in told
    assert done.stderr == ""
    assert len(list((tmp_path / "outputs").glob("*/*"))) == 1
