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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import pgrun
from pgrun.api.policy import ActingPolicy
from pgrun.api.process import kept_numpy, kept_torch, set_openblas_threads
from pgrun.api.words import build_command
from pgrun.command.overrides import CliOverride
from pgrun.config.paths import conf_dir
from pgrun.config.random_streams import draw_env_seeds, make_streams
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Network, distribution_for
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun as typed
from tests.helpers.support_cli import shell
from tests.helpers.support_pipeline import draw, loop

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
    run: pgrun.RunResult, top: Path, odd_process: logging.Handler
) -> None:
    before = state_of_process()
    again = trained(top / "again")
    assert state_of_process() == before
    assert odd_process in [ref() for ref in logging._handlerList]  # which are closed when Python ends
    logging.getLogger("theirs").error("written")
    assert "written" in Path(odd_process.baseFilename).read_text()

    assert shell(f"{LINE} hydra.run.dir={top}/typed logger.progress=false").code == 0
    summary = json.loads((top / "typed" / "summary.json").read_text())
    assert run.summary["params_sha256"] == again.summary["params_sha256"] == summary["params_sha256"]
    assert (
        rows_without_time(run.folder) == rows_without_time(again.folder) == rows_without_time(top / "typed")
    )


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-m seed=0,1", "is several runs: .*pgrun.load_runs"),
        ("seeds=[0,1]", "is several runs"),
        ("seed=0,1", "several values are a sweep"),
        ("--cfg job", "prints something and runs nothing"),
        ("--help", "prints something and runs nothing"),
        ("algo='ppo", "quotes come in pairs"),
        (["algo=ppo seed=1"], "algo=ppo seed=1"),
    ],
)
def test_what_is_no_run_is_refused(words: Any, said: str, here: Path) -> None:  # noqa: F811
    with pytest.raises(pgrun.InvalidCommand, match=said):
        pgrun.train(words)
    assert list(here.iterdir()) == []


def test_the_sentence_is_the_command_s(here: Path) -> None:  # noqa: F811
    line = "algo=pp seed=-1 network.hiden=[8]"
    with pytest.raises(pgrun.InvalidCommand) as refused:
        pgrun.train(line)
    answer = typed(line)
    assert (answer.code, answer.err) == (2, f"pgrun: {refused.value}\n")
    assert list(here.iterdir()) == []


def test_settings_of_any_kind_become_words() -> None:
    given = {
        "env": "my_module:Space/Own-v0",
        "trainer.eval_every": None,
        "state_norm": True,
        "seed": np.int64(3),
        "optimizer.lr": 1e-5,
        "network.hidden": (32, 16),
        "modules": ["a.b"],
        "tuned": "none",
        "a": "true",
        "b": "1e3",
        "c": "x, 'y' \\",
        "d": "[1]",
        "env.kwargs": {"is_slippery": False, "map_name": "8x8", "deep": {"x": [1.5, "2"]}},
    }
    argv = build_command(["algo=ppo 'x=a b'"], given, Path("/tmp/my runs"), "my conf")
    assert argv[:2] == ["algo=ppo", "x=a b"]
    assert argv[2:9] == [
        "env=my_module:Space/Own-v0",
        "trainer.eval_every=null",
        "state_norm=true",
        "seed=3",
        "optimizer.lr=1e-05",
        "network.hidden=[32,16]",
        "modules=[a.b]",
    ]
    assert argv[-2:] == ["hydra.run.dir=/tmp/my runs", "--config-dir=my conf"]
    for word, (key, value) in zip(argv[2:], given.items(), strict=False):
        read = CliOverride.read(word)
        assert (read.key, read.value) == (key, list(value) if isinstance(value, tuple) else value)
    with pytest.raises(pgrun.InvalidCommand, match="seed: is a set: a setting is a number"):
        build_command([], {"seed": {1}}, None, None)


def test_words_in_several_texts_are_words() -> None:
    """Also those that other tools' functions take, which the command answers."""
    argv = build_command(["algo=ppo env=CartPole-v1", ["seed=1", "gamma=1"], "seed=2"], {}, None, None)
    assert argv == ["algo=ppo", "env=CartPole-v1", "seed=1", "gamma=1", "seed=2"]
    with pytest.raises(pgrun.InvalidCommand, match="here: algo=ppo env=CartPole-v1"):
        pgrun.train("ppo", "CartPole-v1")


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


SPACES = {
    "Discrete": spaces.Discrete(3, start=1),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[0, 5]),
    "MultiBinary": spaces.MultiBinary(3),
    "Box": spaces.Box(np.array([-1, -np.inf], np.float32), np.array([3, np.inf], np.float32)),
    "Torque": spaces.Box(-2, 6, (1, 1), np.float32),
}
OBS = np.array([0.3, -0.8], np.float32)


def acting(space: spaces.Space) -> ActingPolicy:
    """A random policy, far from uniform."""
    env = gym.Env()
    env.observation_space, env.action_space = spaces.Box(-1, 1, (2,), np.float32), space
    network = Network(hidden=(4,), policy_gain=2.0)
    policy = network.policy(2, distribution_for(space), NoStateNorm(), False, draw(3))
    return ActingPolicy(policy, loop(env))


@pytest.mark.parametrize("kind", SPACES)
def test_actions_are_the_environment_s(kind: str) -> None:
    policy, space = acting(SPACES[kind]), SPACES[kind]
    first = policy.act(OBS, sample=True, seed=1)
    following = [policy.act(OBS, sample=True) for _ in range(20)]
    for action in (policy.act(OBS), first, *following):
        assert space.contains(np.int64(action) if kind == "Discrete" else action), action
    assert len({str(action) for action in following}) > 1
    assert np.array_equal(first, policy.act(OBS, sample=True, seed=1))
    assert np.array_equal(following[0], policy.act(OBS, sample=True))
    with pytest.raises(ValueError, match="its observation has shape"):
        policy.act(np.zeros(3))


def test_chances_are_those_of_the_actions() -> None:
    pi, policy = acting(SPACES["Discrete"]).distribution(OBS), acting(SPACES["Discrete"])
    assert pi.probabilities.sum() == pytest.approx(1, abs=1e-6)  # float32
    assert [pi.log_prob(a) for a in (1, 2, 3)] == pytest.approx(np.log(pi.probabilities).tolist(), abs=1e-6)
    assert policy.act(OBS) == 1 + pi.probabilities.argmax()
    assert pi.entropy == pytest.approx(-(pi.probabilities * np.log(pi.probabilities)).sum(), abs=1e-6)
    draws = np.bincount([policy.act(OBS, sample=True, seed=i) - 1 for i in range(2000)], minlength=3) / 2000
    error = np.sqrt(pi.probabilities * (1 - pi.probabilities) / 2000)
    assert (abs(draws - pi.probabilities) < 4 * error).all()
    assert (pi.mean, pi.std) == (None, None)

    pi = acting(SPACES["MultiDiscrete"]).distribution(OBS)
    first, second = pi.probabilities
    assert pi.log_prob([1, 7]) == pytest.approx(np.log(first[1] * second[2]), abs=1e-6)

    pi = acting(SPACES["MultiBinary"]).distribution(OBS)
    p = pi.probabilities
    assert pi.log_prob([1, 0, 1]) == pytest.approx(np.log(p[0] * (1 - p[1]) * p[2]), abs=1e-6)


def test_gaussians_are_in_the_environment_s_units() -> None:
    policy = acting(SPACES["Box"])
    pi = policy.distribution(OBS)
    assert pi.probabilities is None
    assert pi.mean is not None
    assert pi.std is not None
    assert policy.act(OBS) == pytest.approx(np.clip(pi.mean, [-1, -np.inf], [3, np.inf]), abs=1e-6)
    oracle = torch.distributions.Normal(torch.from_numpy(pi.mean), torch.from_numpy(pi.std))
    assert pi.log_prob([0.5, -2.0]) == pytest.approx(
        float(oracle.log_prob(torch.tensor([0.5, -2.0])).sum()), abs=1e-9
    )
    assert pi.entropy == pytest.approx(float(oracle.entropy().sum()), abs=1e-9)
    # the first entry is stretched from [−1, 1] to [−1, 3], the second left as it is: σ starts at exp(−0.5)
    assert pi.std.tolist() == pytest.approx([2 * np.exp(-0.5), np.exp(-0.5)], rel=1e-6)

    torque = acting(SPACES["Torque"])
    pi = torque.distribution(OBS)
    assert pi.mean is not None
    assert pi.mean.shape == (1, 1)
    grid = np.linspace(-40, 44, 20_001)
    density = np.exp([pi.log_prob([[a]]) for a in grid[::20]])
    assert density.sum() * (grid[20] - grid[0]) == pytest.approx(1, abs=1e-3)
    draws = np.array([torque.act(OBS, sample=True, seed=i) for i in range(2000)])
    inside = (draws > -2) & (draws < 6)
    share = torch.distributions.Normal(torch.tensor(pi.mean), torch.tensor(pi.std))
    bounds = torch.tensor([[-2.0, 6.0]], dtype=torch.float64)
    expected = float(share.cdf(bounds).diff())
    assert inside.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 2000))


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
