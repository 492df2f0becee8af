"""``env.wrappers``: around each environment, in the record, played again, and never a fast path's silent
mistake.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pgrun.command.compose import compose_jobs
from pgrun.command.notices import find_notices
from pgrun.command.overrides import CliOverride, read_command
from pgrun.command.validate import find_problems
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.make import make_one
from pgrun.envs.rehearsal import why_unrepeatable
from pgrun.envs.replay import ByReplay
from pgrun.envs.table import TableEnvs
from pgrun.envs.vector import Loop
from pgrun.envs.wrappers import format_wrappers, split_entry
from pgrun.errors import InvalidCommand
from pgrun.exact import read_problem
from pgrun.tools.play.options import PlayOptions
from pgrun.tools.play.play import wrappers_named_again
from pgrun.training.identity import find_code_to_name_again
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

MODULE = '''
import gymnasium as gym

class Scaled(gym.RewardWrapper):
    """Rewards times a factor."""

    def __init__(self, env, factor=0.5):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return self.factor * float(reward)

class Plain:
    """No wrapper."""
'''
STACK = {"name": "FrameStackObservation", "stack_size": 4}
CLIP = {"name": "ClipReward", "min_reward": -1, "max_reward": 0.5}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_wrappers.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield "own_wrappers"
    sys.modules.pop("own_wrappers", None)


def columns(*wrappers: Any, env: str = "CartPole-v1", **given: Any) -> Any:
    envs = make_envs(EnvSettings(env, 2, wrappers=wrappers, **given), 2)
    envs.reset([1, 2])
    return envs


def walk(envs: Any, steps: int, seed: int = 0) -> bytes:
    """Rewards, observations and ends of random actions, as bits."""
    rng, actual = np.random.default_rng(seed), b""
    for _ in range(steps):
        action = rng.integers(0, 2, 2)
        reward, _, _ = envs.step(action)
        actual += np.asarray(reward).tobytes() + envs.obs.tobytes() + envs.ended.tobytes()
    return actual


def test_they_are_around_each_environment(own: str) -> None:
    envs = columns("TimeAwareObservation", STACK, {"name": f"{own}:Scaled", "factor": 0.25})
    assert type(envs) is Loop
    assert envs.obs_size == 4 * (4 + 1)
    assert envs.step(np.array([0, 1]))[0].tolist() == [0.25, 0.25]
    assert [type(env).__name__ for env in envs.envs] == ["Scaled", "Scaled"]


def test_rewards_are_clipped_and_actions_rescaled() -> None:
    assert columns(CLIP).step(np.array([0, 1]))[0].tolist() == [0.5, 0.5]
    scale = {"name": "RescaleAction", "min_action": -1, "max_action": 1}
    rescaled = make_one(EnvSettings("Pendulum-v1", 1, wrappers=(scale,)))
    assert (rescaled.action_space.low, rescaled.action_space.high) == ([-1], [1])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "HalfCheetah-v5", "FrozenLake-v1"])
def test_no_fast_path_passes_them_by(env: str) -> None:
    """A program, a table and a simulator's memory know nothing of a wrapper."""
    plain = make_envs(EnvSettings(env, 1), 1)
    wrapped = make_envs(EnvSettings(env, 1, wrappers=(CLIP,)), 1)
    assert type(plain) is not Loop
    assert type(wrapped) is Loop
    assert isinstance(wrapped.noted[0], ByReplay)


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1"])
def test_a_program_for_all_columns_is_refused(env: str) -> None:
    with pytest.raises(InvalidCommand, match=r"env\.wrappers are around each environment.*env\.vector=loop"):
        columns(CLIP, env=env, vector="native")
    assert isinstance(columns(env="FrozenLake-v1", vector="native"), TableEnvs)


def test_a_run_stands_where_it_stood(own: str) -> None:
    """Frames of a stack, the time and a reward are those of the run that never stopped."""
    wrappers = ("TimeAwareObservation", STACK, f"{own}:Scaled")
    straight, resumed = columns(*wrappers), columns(*wrappers)
    walk(straight, 30)
    state = copy.deepcopy(straight.state_dict())
    resumed.load_state_dict(state)
    assert resumed.obs.tobytes() == straight.obs.tobytes()
    assert walk(resumed, 40, 1) == walk(straight, 40, 1)
    assert why_unrepeatable(straight) is None


@pytest.mark.parametrize("name", ["NormalizeReward", "NormalizeObservation"])
def test_statistics_over_episodes_are_said_at_the_start(name: str) -> None:
    """No replay of an episode brings them back; there is a setting that is saved."""
    assert "played again" in (why := why_unrepeatable(columns(name)) or "") or "its reward is" in why
    (job,) = compose_jobs(read_command([f"env.wrappers=[{name}]"])).composed
    (notice,) = find_notices([job])
    assert f"{name} keeps statistics" in notice
    assert "state_norm=true" in notice or "reward_scaling=true" in notice


def test_exact_values_are_of_the_table_alone() -> None:
    env = gym.make("FrozenLake-v1")
    read_problem(env)
    with pytest.raises(LookupError, match="ClipReward around it may change"):
        read_problem(gym.wrappers.ClipReward(env, 0, 0.5))


REFUSED = {  # → what is said
    "[TimeAwareObservatio]": "nearest: TimeAwareObservation",
    "[RecordVideo]": "pgrun-play RUN_DIR --render or --video DIR",
    "[TimeLimit]": "set env.max_episode_steps",
    "[FrameStackObservation]": "missing 1 required positional argument: 'stack_size'",
    "[{name:FrameStackObservation,size:4}]": "unexpected keyword argument 'size'",
    "[{nam:x}]": "{name:NAME,argument:value}",
    "[3]": "env.wrappers=3: is no wrapper",
    "[{gymnasium.wrappers.ClipReward:{min_reward:-1}}]": "type {name:ClipReward,min_reward:-1}",
    "TimeAwareObservation": "must be a list such as [name]",
    "[nope:X]": "cannot import nope",
    "[own_wrappers:Plain]": "own_wrappers has no gymnasium.Wrapper of that name",
    "[TransformReward]": "missing 1 required positional argument: 'func'",
}


def test_what_is_none_is_refused(own: str) -> None:
    """In the check, which speaks before a run directory exists."""
    (job,) = compose_jobs(read_command([])).composed
    for typed, said in REFUSED.items():
        settings = copy.deepcopy(job.settings)
        settings["env"]["wrappers"] = CliOverride.read(f"env.wrappers={typed}").value
        problems = find_problems(replace(job, settings=settings))
        assert len(problems) == 1, typed
        assert said in problems[0].sentence()


def test_the_users_own_have_to_be_named_again() -> None:
    """Nothing in a run directory decides what is imported; typed again, they are the same."""
    wrappers = ["TimeAwareObservation", {"name": "own_wrappers:Scaled", "factor": 0.25, "on": [True, None]}]
    settings = {"env": {"id": "CartPole-v1", "wrappers": wrappers}, "modules": []}
    (word,) = find_code_to_name_again(settings, {})
    assert CliOverride.read(word).value == wrappers
    assert list(find_code_to_name_again(settings, {"env.wrappers": wrappers})) == []
    plain = {"env": {"id": "CartPole-v1", "wrappers": [STACK]}, "modules": []}
    assert list(find_code_to_name_again(plain, {})) == []
    with pytest.raises(InvalidCommand, match="add --modules own_wrappers"):
        wrappers_named_again(tuple(wrappers), PlayOptions("run"))
    named = PlayOptions("run", modules=("own_wrappers",))
    assert wrappers_named_again(tuple(wrappers), named) == tuple(wrappers)
    assert format_wrappers([STACK]) == "[{name:FrameStackObservation,stack_size:4}]"
    assert split_entry({"name": "A", "shape": [2, 3]}) == ("A", {"shape": (2, 3)})


@pytest.mark.slow
def test_a_run_is_resumed_in_them(own: str, here: Path) -> None:  # noqa: F811
    words = f"env.wrappers=[TimeAwareObservation,{own}:Scaled] backend=torch logger.progress=false"
    brief = "trainer.eval_every=null trainer.eval_episodes=2 hydra.run.dir=run"
    first = pgrun(f"{words} {brief} trainer.total_steps=500")
    assert first.code == 0, first.err
    unnamed = pgrun("resume=run trainer.total_steps=1000")
    assert unnamed.code == 2
    assert f"add env.wrappers=[TimeAwareObservation,{own}:Scaled]" in unnamed.err
    again = pgrun(f"resume=run trainer.total_steps=1000 env.wrappers=[TimeAwareObservation,{own}:Scaled]")
    assert again.code == 0, again.err
