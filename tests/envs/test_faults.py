"""What an environment or an update does wrong stops the run there, in one line that
says where; what was good stays.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import support_bad_env
import torch
from gymnasium import spaces
from support_bad_env import AT, RESETS, STEPS, BadEnv, Endless

import pgrun.rollouts.samplers.episodes as episodes
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.faults import Misfit
from pgrun.envs.spaces import observation_encoder
from pgrun.errors import Diverged, EnvironmentFault
from pgrun.optimization.optimizers import Optimizer
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.samplers.steps import Steps
from pgrun.storage.checkpoint import Checkpoints
from pgrun.tools.study.cli import main as study
from pgrun.training import nonfinite
from pgrun.training.build import Run
from pgrun.training.counters import Clock, Counters
from pgrun.training.loop import train_run
from pgrun.training.saver import Saver
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import answer, pgrun, shell
from tests.helpers.support_pipeline import built, draw, loop, small_policy, trained

SAMPLERS = [Steps(5), Steps(1), Steps(50), Episodes(8)]


def collect(sampler: Steps | Episodes, *envs: gym.Env, times: int = 20) -> None:
    columns = loop(*envs)
    columns.name = "env=BadEnv-v0"
    if isinstance(sampler, Steps):
        columns.reset([0, 1])
    for _ in range(times):
        sampler.collect(small_policy(2, 2), columns, draw(), NoRewardScale())


# --- where, and what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("kind", STEPS)
def test_a_fault_in_a_step_is_named(kind: str, sampler) -> None:
    where = re.escape(f"env=BadEnv-v0: column 1, episode 1, step {AT}: ")
    with pytest.raises(EnvironmentFault, match=f"^{where}.*{STEPS[kind][1]}") as raised:
        collect(sampler, BadEnv(), BadEnv(step=kind))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("kind", RESETS)
def test_a_fault_in_a_reset_is_named(kind: str, sampler) -> None:
    where = re.escape("env=BadEnv-v0: column 0, episode 1, step 0: ")
    with pytest.raises(EnvironmentFault, match=f"^{where}.*{RESETS[kind][1]}"):
        collect(sampler, BadEnv(reset=kind), BadEnv())


@pytest.mark.parametrize("wrong", [7, 12])
def test_episodes_are_counted_over_rollouts(wrong: int) -> None:
    with pytest.raises(EnvironmentFault, match=f"column 0, episode {wrong}, step 3: reward is nan"):
        collect(Steps(9), BadEnv(step="pays NaN", episode=wrong), BadEnv())


def test_what_is_allowed_is_not_a_fault() -> None:
    """Booleans and integers as rewards, NumPy's own scalars, lists for observations."""

    class Loose(BadEnv):
        def step(self, action):
            self.t += 1
            reward = [True, 2, np.float32(3), np.int64(4)][self.t - 1]
            return [0.0, 1.0], reward, np.bool_(self.t == 4), False, {}

    columns = loop(Loose(), Loose())
    _, finished = Episodes(2).collect(small_policy(2, 2), columns, draw(), NoRewardScale())
    assert finished == [(10.0, 4), (10.0, 4)]


PAIR = {"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (2,), np.float32)}


@pytest.mark.parametrize(
    ("space", "obs", "said"),
    [
        (spaces.Dict(PAIR), {"a": 1}, r"its observation is \['a'\]"),
        (spaces.Dict(PAIR), {"a": 1, "b": np.zeros(2), "c": 0}, r"\['a', 'b', 'c'\]"),
        (spaces.Dict(PAIR), {"a": 1, "c": np.zeros(2)}, r"\['a', 'c'\]"),
        (spaces.Dict(PAIR), np.zeros(4), "is a ndarray"),
        (spaces.Dict(PAIR), {"a": 1, "b": np.zeros(3)}, r"shape \(3,\)"),
        (spaces.Tuple(PAIR.values()), (1,), "is a tuple"),
        (spaces.Tuple(PAIR.values()), 1, "is a int"),
        (spaces.Discrete(3), 3, "its observation is 3"),
        (spaces.Discrete(3), -1, "its observation is -1"),
        (spaces.Discrete(3, start=1), 0, "its observation is 0"),
        (spaces.Discrete(3), 1.5, "its observation is 1.5"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "its observation is"),
        (spaces.MultiDiscrete([2, 3]), np.array([1]), r"shape \(1,\)"),
        (spaces.MultiBinary(2), np.zeros(3), r"shape \(3,\)"),
    ],
    ids=str,
)
def test_an_observation_of_another_structure_is_no_observation(space, obs, said: str) -> None:
    with pytest.raises(Misfit, match=said):
        observation_encoder(space)[1](obs)


# --- a run --------------------------------------------------------------------------------------------------

RUN = (
    "algo=a2c env=support_bad_env:BadEnv-v0 env.num_envs=2 sampler.steps=8 trainer.total_steps=400 "
    "network.hidden=[4] trainer.eval_every=null trainer.eval_episodes=1 trainer.checkpoint_every=16 "
    "logger.progress=false hydra.run.dir=r"
)


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(BadEnv, "broken", True)
    return monkeypatch


@pytest.mark.parametrize("kind", ["raises", "exits", "pays NaN", "observes NaN"])
def test_the_last_good_checkpoint_stays_and_goes_on(
    kind: str,
    here: Path,  # noqa: F811
    mended: pytest.MonkeyPatch,
) -> None:
    told = pgrun(f"{RUN} 'env.kwargs={{step: {kind}, episode: 9}}'")
    assert told.code == 1
    assert told.err.startswith("pgrun: env=support_bad_env:BadEnv-v0: column 0, episode 9, step 3: ")
    assert len(told.err.splitlines()) == 1
    summary = json.loads((here / "r" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert told.err == f"pgrun: {summary['error']}\n"
    state, problems = Checkpoints(here / "r" / "checkpoints").load()
    assert not problems
    assert 16 <= state["counters"]["env_steps"] < 2 * 10 * 5
    again = "resume=r env=support_bad_env:BadEnv-v0"
    resumed = pgrun(again)
    assert resumed.code == 1, "the environment counts its episodes anew, and fails again later"
    assert re.match(r"pgrun: env=support_bad_env:BadEnv-v0: column \d, episode 1\d, step 3: ", resumed.err)
    mended.setattr(BadEnv, "broken", False)
    assert pgrun(again).code == 0
    assert json.loads((here / "r" / "summary.json").read_text())["env_steps"] >= 400


def test_nothing_of_numpys_comes_before_it(here: Path) -> None:  # noqa: F811
    """An infinite observation goes through the normaliser and the network until the rollout is over."""
    path = f"sys.path.insert(0, {os.path.dirname(support_bad_env.__file__)!r})"
    told = shell(f"{RUN} state_norm=true 'env.kwargs={{step: observes 1e300}}'", python=path)
    assert told.code == 1
    assert len(told.err.splitlines()) == 1, told.err


def test_a_fault_in_evaluation_says_so(here: Path) -> None:  # noqa: F811
    told = pgrun(
        f"{RUN.replace('eval_episodes=1', 'eval_episodes=3')} 'env.kwargs={{step: pays NaN, episode: 0}}'"
    )
    assert told.code == 1
    assert "column 0, episode 0, step 3: reward is nan" in told.err
    run = built("algo=a2c", "env=ProbeMatch-v0", "env.num_envs=2", "trainer.eval_episodes=2")
    assert (run.envs.name, run.eval_envs.name) == ("env=ProbeMatch-v0", "env=ProbeMatch-v0 in evaluation")


def test_a_second_interrupt_ends_a_step_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "hang.py").write_text(
        "import gymnasium as gym\nfrom support_bad_env import BadEnv\n"
        "class Hang(BadEnv):\n"
        "    def step(self, action):\n"
        "        open('reached', 'w')\n"
        "        while True: pass\n"
        "gym.register('Hang-v0', Hang)\n"
    )
    words = [
        "algo=a2c",
        "env=hang:Hang-v0",
        "trainer.total_steps=100",
        "logger.progress=false",
        "hydra.run.dir=r",
    ]
    code = (
        f"import sys\nsys.path.insert(0, {os.path.dirname(support_bad_env.__file__)!r})\nfrom "
        "pgrun.cli.main import main\nmain()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first waits for the update"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


# --- numbers that an update made ----------------------------------------------------------------------------

TINY = [
    "env=ProbeMatch-v0",
    "env.num_envs=2",
    "sampler.steps=8",
    "network.hidden=[4]",
    "trainer.total_steps=64",
]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 2, 15, 64, 4610])
def test_one_number_among_many_is_found(size: int, bad: float) -> None:
    random = np.random.default_rng(size)
    for dtype in (torch.float32, torch.float64):
        x = torch.from_numpy(random.normal(size=size)).to(dtype) * 1e30
        assert nonfinite.is_finite(x)
        for at in {0, size - 1, int(random.integers(size))}:
            y = x.clone()
            y[at] = bad
            assert not nonfinite.is_finite(y)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "algo=a2c optimizer=rmsprop optimizer.lr=1e38",
            "the policy's parameters θ: .*smaller optimizer.lr or optimizer.max_grad_norm=0.5",
        ),
        ("algo=a2c optimizer=adam optimizer.lr=3e38", "parameters θ"),
        (
            "algo=a2c critic/optimizer=sgd critic.optimizer.lr=3e38",
            "(value/loss|critic's).*take a smaller critic.optimizer.lr",
        ),
        ("algo=a2c network=shared optimizer=sgd optimizer.lr=1e38", "smaller optimizer.lr"),
    ],
)
def test_steps_too_large_stop_the_run_in_that_update(words: str, said: str, tmp_path: Path) -> None:
    run = built(
        *words.split(), *TINY, **{"critic.optimizer.max_grad_norm": None, "optimizer.max_grad_norm": None}
    )
    with pytest.raises(Diverged, match=rf"^update [1-4], environment step \d+: .*{said}"):
        train_run(run, tmp_path)
    state, _ = Checkpoints(tmp_path / "checkpoints").load()
    assert torch.isfinite(state["run"]["policy"]["theta"]).all()


def said_at_rewards_of(size: float, run: Run, folder: Path, since: int = 0) -> str:
    """``since``: environment steps that pay what they should before."""
    real, taken = run.envs.step, [0]

    def step(action):
        reward, *ends = real(action)
        taken[0] += 1
        return reward + size * (taken[0] > since), *ends

    run.envs.step = step
    with pytest.raises(Diverged) as raised:
        train_run(run, folder)
    return str(raised.value)


@pytest.mark.parametrize("scaling", ["true", "false"])
@pytest.mark.parametrize(
    ("algo", "size"),
    [
        ("a2c", 3e38),
        ("a2c", 1e30),
        ("ppo", 1e18),
        ("trpo", 1e30),
        ("a2c network=shared", 1e30),
        ("npg", 1e30),
    ],
)
def test_rewards_that_overflow_are_named(algo: str, size: float, scaling: str, tmp_path: Path) -> None:
    """In the first update, which no statistics scale yet, and whichever number
    overflows first; the critic is not to blame.
    """
    tiny = [
        "env=CartPole-v1",
        "env.vector=loop",
        "tuned=none",
        "sampler.steps=128",
        "network.hidden=[4]",
        f"reward_scaling={scaling}",
    ]
    said = said_at_rewards_of(size, built(*f"algo={algo}".split(), *tiny, "trainer.total_steps=64"), tmp_path)
    assert f"the rewards reach {size:.0e}" in said
    assert "divide them in the environment" in said
    assert "reward_scaling" not in said
    assert ".lr" not in said


def test_a_price_that_overflows_is_named(tmp_path: Path) -> None:
    """Of the distance from a reference policy: neither the critic nor the environment is to blame."""
    run = built("algo=a2c", *TINY, "reference.policy=start", "reference.beta=1e30")
    with pytest.raises(Diverged) as stop:
        train_run(run, tmp_path)
    assert "take a smaller reference.beta" in str(stop.value)
    assert ".lr" not in str(stop.value)


@pytest.mark.parametrize("scaling", ["true", "false"])
def test_rewards_that_overflow_later_may_be_scaled(scaling: str, tmp_path: Path) -> None:
    """Advised only where it is not on already."""
    run = built("algo=a2c", f"reward_scaling={scaling}", *TINY)
    said = said_at_rewards_of(1e32, run, tmp_path, since=8)
    assert "the rewards reach 1e+3" in said
    assert ("reward_scaling=true" in said) == (scaling == "false")


@pytest.mark.parametrize("log_std", [-200.0, -60.0, 200.0])
def test_a_sigma_out_of_range_is_named(log_std: float, tmp_path: Path) -> None:
    """log π is NaN, and neither the rewards nor the critic have to do with it."""
    run = built("algo=ppo", "env=Pendulum-v1", "tuned=none", *TINY[1:])
    run.policy.free.fill_(log_std)
    with pytest.raises(Diverged) as raised:
        train_run(run, tmp_path)
    said = str(raised.value)
    assert f"the policy's log σ is {log_std:.0f}" in said
    assert "network.log_std nearer to 0, or a smaller optimizer.lr" in said
    assert "reward" not in said
    assert "critic" not in said


def test_observations_that_overflow_are_named(tmp_path: Path) -> None:
    run = built(
        "algo=a2c", "network.activation=relu", "env=Pendulum-v1", "env.vector=loop", "tuned=none", *TINY[1:]
    )
    encode = run.envs.encode
    run.envs.encode = lambda obs: encode(obs) * 1e37
    with pytest.raises(Diverged, match=r"the observations reach \de\+3[78]: take state_norm=true"):
        train_run(run, tmp_path)


@pytest.mark.parametrize("algo", ["trpo", "npg", "npg algo.solver=dense", "euclidean_pg", "reinforce", "ppo"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_stops_the_run(
    algo: str, bad: float, tmp_path: Path, monkeypatch
) -> None:
    """Also where the step would be refused, and the parameters stay."""
    run = built(*f"algo={algo} env=ProbeMatch-v0 network.hidden=[4] trainer.total_steps=64".split())
    real = type(run.algorithm).loss_gradient

    def loss_gradient(self, batch, learner):
        gradient = real(self, batch, learner)
        gradient[3] = bad
        return gradient

    monkeypatch.setattr(type(run.algorithm), "loss_gradient", loss_gradient)
    with pytest.raises(Diverged, match=r"^update 1, environment step \d+: "):
        train_run(run, tmp_path)


def test_nothing_that_is_not_finite_is_saved(tmp_path: Path) -> None:
    """Whatever it is: here a moment of the optimizer, which has not reached θ yet."""
    run, _ = trained(tmp_path, "algo=a2c", "optimizer=adam", *TINY)
    before = sorted((tmp_path / "checkpoints").iterdir())
    run.learner.optimizer.state["second"][2] = torch.inf
    with pytest.raises(Diverged, match="optimizer/second: inf in 1 of"):
        Saver(tmp_path, None).save(run, Counters(env_steps=10_000), Clock(), {})
    assert sorted((tmp_path / "checkpoints").iterdir()) == before


def test_large_numbers_alone_are_fine(tmp_path: Path) -> None:
    """Negative control: 1e30 is finite."""
    run = built("algo=a2c", "optimizer=sgd", *TINY)
    Optimizer(run.policy.theta, run.learner.optimizer.settings)
    run.policy.theta.mul_(1e30)
    assert all(nonfinite.is_finite(x) for x in nonfinite.named_parameters(run).values())


# --- episodes that never end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", ["algo=reinforce variance=value_baseline", "algo=ppo sampler=episodes", "algo=reinforce"]
)
@pytest.mark.parametrize("env", ["ProbeMatch-v0", "CartPole-v1", "FrozenLake-v1"])
def test_a_cut_episode_is_a_truncated_one(words: str, env: str, tmp_path: Path) -> None:
    """Bit for bit what the time limit of gymnasium does: through a loop, CartPole's arrays and a table."""
    own = [
        *words.split(),
        f"env={env}",
        "env.num_envs=2",
        "sampler.episodes=6",
        "trainer.total_steps=60",
        "network.hidden=[4]",
    ]
    length = 3 if env != "ProbeMatch-v0" else 1
    collected = []
    for i, cap in enumerate(
        (("sampler.at_cap=truncate", f"sampler.max_steps={length}"), (f"env.max_episode_steps={length}",))
    ):
        (tmp_path / str(i)).mkdir()
        _, summary = trained(tmp_path / str(i), *own, *cap)
        collected.append(summary["params_sha256"])
    assert collected[0] == collected[1]


def test_the_environment_starts_anew_after_a_cut() -> None:
    envs = make_envs(EnvSettings("CartPole-v1", 3), 3)
    rollout, finished = Episodes(9, max_steps=5, at_cap="truncate").collect(
        small_policy(4, 2), envs, draw(), NoRewardScale()
    )
    assert [length for _, length in finished] == [5] * 9
    assert not rollout.terminated.any()
    assert (rollout.raw_obs[0].abs() <= 0.05).all(), "where CartPole starts"


def test_it_is_said_once_what_a_cut_means(caplog: pytest.LogCaptureFixture) -> None:
    sampler = Episodes(4, max_steps=5, at_cap="truncate")
    with caplog.at_level(logging.WARNING):
        collect(sampler, Endless(), Endless(), times=3)
    assert [("bootstraps" in text, "biases" in text) for text in caplog.messages] == [(True, True)]


@pytest.mark.parametrize("limit", [None, 30])
def test_the_cap_is_for_environments_without_a_limit(limit: int | None, monkeypatch) -> None:
    monkeypatch.setattr(episodes, "CAP", 20)
    envs = make_envs(EnvSettings("Endless-v0", 2, limit), 2)
    if limit is None:
        with pytest.raises(
            EnvironmentFault,
            match=r"column 0, episode 0, step 20: the episode is still going: set env\.max_ep",
        ):
            Episodes(2).collect(small_policy(2, 2), envs, draw(), NoRewardScale())
    else:
        assert Episodes(2).collect(small_policy(2, 2), envs, draw(), NoRewardScale())[1] == [(30.0, 30)] * 2


@pytest.mark.parametrize("command", ["train", "evaluate", "study"])
def test_nothing_waits_for_an_episode_that_never_ends(command: str, here: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(episodes, "CAP", 50)
    own = "env=support_bad_env:Endless-v0 network.hidden=[4]"
    if command == "study":
        told = answer(
            study, "pgrun-study", *own.split(), "schemes=[none]", "episodes=4", "batch=2", "hydra.run.dir=r"
        )
    else:
        algo = "algo=reinforce" if command == "train" else "algo=a2c"
        told = pgrun(
            f"{own} {algo} trainer.total_steps=64 trainer.eval_every=null logger.progress=false "
            "hydra.run.dir=r"
        )
    assert told.code == 1
    remedy = "trainer.eval_max_steps=1000" if command == "evaluate" else "set env.max_episode_steps"
    assert "step 50: the episode is still going" in told.err
    assert remedy in told.err
    assert ("in evaluation" in told.err) == (command == "evaluate")
