"""Environments whose state is read and put back: they go on bit for bit, whatever the length of their
episode, and nothing is recorded.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.wrappers import NormalizeReward, TimeLimit
from support_odd_envs import Odd

from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.problems.registration import registry
from pgrun.envs.replay import ByReplay
from pgrun.envs.snapshot import ByState, can_be_read
from pgrun.envs.vector import Loop
from pgrun.storage.checkpoint import Checkpoints
from tests.helpers.support_pipeline import settings
from tests.helpers.support_resume import rows, told
from tests.rollouts.test_replayed import acted, saved
from tests.training.test_resume import TINY, every, killed_and_resumed, straight

CLASSIC = [name for name, spec in registry.items() if "classic_control" in str(spec.entry_point)]
MUJOCO = [name for name, spec in registry.items() if "envs.mujoco." in str(spec.entry_point)]
LOOPED = [name for name in CLASSIC if name != "CartPole-v1"]
TEACHING = ["pgrun/TwoGaussians-v0", "pgrun/LQ1-v0"]
OLD = ("Pusher-v4",)  # needs mujoco < 3
READ = [*LOOPED, *(name for name in MUJOCO if name not in OLD), *TEACHING]
LIMIT = 45  # steps, so that the time limit is seen to be reached


def columns(name: str, seed: int, **given: Any) -> Any:
    envs = make_envs(EnvSettings(name, 2, **{"max_episode_steps": LIMIT, "vector": "loop", **given}), 2)
    envs.reset([seed, seed + 1])
    return envs


def outcome(envs: Loop, steps: int, seed: int = 1) -> bytes:
    """Rewards, observations and ends of every step, as bits."""
    actual = b""
    for k in range(steps):
        actual += acted(envs, 1, seed * 1000 + k).tobytes() + envs.obs.tobytes() + envs.ended.tobytes()
    return actual


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize("name", READ)
def test_it_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Another environment with another past, from a file; into the next episode and over its time limit."""
    first, second = columns(name, 0), columns(name, 5)
    assert all(isinstance(noted, ByState) for noted in first.noted)
    acted(first, 25)
    acted(second, 7)
    Checkpoints(tmp_path).save(1, first.state_dict())
    second.load_state_dict(Checkpoints(tmp_path).load()[0])
    assert (first.obs == second.obs).all()
    assert outcome(first, 60) == outcome(second, 60)
    assert first.steps(0) == second.steps(0)


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1", "pgrun/SmallMDP-v0", "pgrun/OneState-v0"])
def test_array_programs_do_too(name: str, tmp_path: Path) -> None:
    first, second = columns(name, 0, vector="auto"), columns(name, 5, vector="auto")
    acted(first, 25)
    Checkpoints(tmp_path).save(1, first.state_dict())
    second.load_state_dict(Checkpoints(tmp_path).load()[0])
    assert outcome(first, 60) == outcome(second, 60)


def forget(state: dict[str, Any], other: dict[str, Any], path: tuple[str, ...]) -> None:
    """An item of every column as it is in another run."""
    for mine, theirs in zip(state["columns"], other["columns"], strict=True):
        *groups, name = path
        for group in groups:
            mine, theirs = mine[group], theirs[group]
        mine[name] = theirs[name]


NEEDED = [
    ("Pendulum-v1", ("generator",)),
    ("Pendulum-v1", ("wrappers",)),
    ("Pendulum-v1", ("attributes", "state")),
    ("Acrobot-v1", ("attributes", "state")),
    ("MountainCar-v0", ("attributes", "state")),
    ("MountainCarContinuous-v0", ("attributes", "state")),
    ("HalfCheetah-v5", ("generator",)),
    ("HalfCheetah-v5", ("wrappers",)),
    ("HalfCheetah-v5", ("simulator", "state")),
    ("Ant-v5", ("simulator", "computed")),
    ("Humanoid-v5", ("simulator", "computed")),
    ("pgrun/LQ1-v0", ("generator",)),
    ("pgrun/LQ1-v0", ("attributes", "state")),
]


@pytest.mark.parametrize(("name", "path"), NEEDED, ids=str)
def test_without_any_one_item_it_is_another_run(name: str, path: tuple[str, ...]) -> None:
    """Negative control."""
    first, second = columns(name, 0), columns(name, 5)
    acted(first, 25)
    acted(second, 7)
    state = saved(first)
    forget(state, saved(second), path)
    second.load_state_dict(state)
    assert outcome(first, 60) != outcome(second, 60)


def test_a_number_keeps_its_type() -> None:
    """float32 plus float64 is not float64 plus float64."""
    first, second = columns("MountainCarContinuous-v0", 0), columns("MountainCarContinuous-v0", 5)
    for envs in (first, second):
        envs.envs[0].unwrapped.extra = (np.float32(0.1), [1, np.int8(2)], None)
    state = saved(first)
    second.envs[0].unwrapped.extra = (None, [], 3.0)
    second.load_state_dict(state)
    extra = second.envs[0].unwrapped.extra
    assert repr(extra) == repr(first.envs[0].unwrapped.extra)


class Taught(HalfCheetahEnv):
    """Keeps what pgrun knows nothing of."""


UNKNOWN = [
    lambda: Taught(),
    lambda: NormalizeReward(gym.make("Pendulum-v1")),
    lambda: TimeLimit(Odd(), 10),
    lambda: gym.make("Pendulum-v1", render_mode="rgb_array"),
]


@pytest.mark.parametrize("made", UNKNOWN)
def test_what_may_keep_more_is_played_again(made: Any) -> None:
    assert not can_be_read(made())
    assert isinstance(Loop(made, 1).noted[0], ByReplay)


WRONG = [
    (lambda c: c["attributes"].pop("state"), "keeps .*state"),
    (lambda c: c["attributes"].update(step=1), "keeps "),
    (lambda c: c["attributes"].update(init_qpos=np.zeros(3)), "init_qpos: .* wanted"),
    (lambda c: c["attributes"].update(frame_skip="5"), "str in place of a number"),
    (lambda c: c["simulator"].update(state=np.zeros(3)), "state: .* wanted"),
    (lambda c: c["simulator"].update(computed=np.zeros(3, np.uint8)), "computed: .* wanted"),
    (lambda c: c.update(wrappers=[1]), "zip"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_a_state_of_something_else_is_refused(change: Any, sentence: str) -> None:
    """Nothing is written to but what is read."""
    name = "Pendulum-v1" if "state" in sentence and "keeps" in sentence else "HalfCheetah-v5"
    envs = columns(name, 0)
    state = copy.deepcopy(envs.state_dict())
    change(state["columns"][1])
    with pytest.raises(ValueError, match=sentence):
        envs.load_state_dict(state)


def test_nothing_is_recorded_of_long_episodes() -> None:
    envs = columns("Pendulum-v1", 0, max_episode_steps=10**8)
    acted(envs, 50)
    before = len(repr(envs.state_dict()))
    acted(envs, 500)
    assert envs.steps(0) == 550
    assert abs(len(repr(envs.state_dict())) - before) < 100


@pytest.mark.parametrize("name", ["Ant-v5", "MountainCarContinuous-v0", "pgrun/LQ1-v0"])
def test_a_whole_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["algo=a2c", f"env={name}", *TINY, "sampler.steps=8", "trainer.total_steps=96"]
    own = every(settings(*words, "env.max_episode_steps=13"), 1)
    whole = straight(tmp_path / "whole", own)
    killed_and_resumed(tmp_path / "resumed", own, 3, monkeypatch)
    assert told(whole) == told(tmp_path / "resumed")
    assert rows(whole) == rows(tmp_path / "resumed")
