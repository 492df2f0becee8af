"""What an environment or an update does wrong stops the run there, in one line that
says where; what was good stays.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from support_bad_env import AT, RESETS, STEPS, BadEnv

from pgrun.cli.main import main
from pgrun.envs.faults import Misfit
from pgrun.envs.spaces import observation_encoder
from pgrun.errors import EnvironmentFault
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.samplers.steps import Steps
from pgrun.storage.checkpoint import Checkpoints
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import in_fork, pgrun
from tests.helpers.support_fork import ForkedCommand
from tests.helpers.support_pipeline import built, collect_from, draw, loop, small_policy

SAMPLERS = [Steps(5), Steps(1), Steps(50), Episodes(8)]


# --- where, and what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("kind", STEPS)
def test_a_fault_in_a_step_is_named(kind: str, sampler) -> None:
    where = re.escape(f"env=BadEnv-v0: column 1, episode 1, step {AT}: ")
    with pytest.raises(EnvironmentFault, match=f"^{where}.*{STEPS[kind][1]}") as raised:
        collect_from(sampler, BadEnv(), BadEnv(step=kind))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("kind", RESETS)
def test_a_fault_in_a_reset_is_named(kind: str, sampler) -> None:
    where = re.escape("env=BadEnv-v0: column 0, episode 1, step 0: ")
    with pytest.raises(EnvironmentFault, match=f"^{where}.*{RESETS[kind][1]}"):
        collect_from(sampler, BadEnv(reset=kind), BadEnv())


@pytest.mark.parametrize("wrong", [7, 12])
def test_episodes_are_counted_over_rollouts(wrong: int) -> None:
    with pytest.raises(EnvironmentFault, match=f"column 0, episode {wrong}, step 3: reward is nan"):
        collect_from(Steps(9), BadEnv(step="pays NaN", episode=wrong), BadEnv())


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

    def with_warnings_shown() -> None:
        warnings.resetwarnings()
        warnings.simplefilter("ignore", ResourceWarning)  # of what other tests have left open
        warnings.showwarning = lambda *what: print(warnings.formatwarning(*what[:4]), file=sys.stderr)
        main()

    told = in_fork(f"{RUN} state_norm=true 'env.kwargs={{step: observes 1e300}}'", with_warnings_shown)
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


def test_a_second_interrupt_ends_a_step_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.chdir(tmp_path)
    process = ForkedCommand(main, words)
    deadline = time.monotonic() + 60
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first waits for the update"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10) == 130
