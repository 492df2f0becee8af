"""Compiled programs of gymnasium's classic control: its own numbers to the bit, and saved by state."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("numba")

from gymnasium.envs.classic_control import PendulumEnv

from pgrun.envs import EnvSettings, make_envs, make_probed_env
from pgrun.envs.make import make_one
from pgrun.envs.program import KINDS, Program
from pgrun.envs.table import TableEnvs
from pgrun.envs.vector import Loop
from pgrun.errors import InvalidCommand
from pgrun.kernels.uniform import pack_stream
from pgrun.storage.checkpoint import Checkpoints
from tests.helpers.support_programs import actions, first_difference, gymnasiums, program

CONSTANTS = {
    "CartPole-v1": "gravity",
    "Pendulum-v1": "g",
    "MountainCar-v0": "force",
    "MountainCarContinuous-v0": "power",
    "Acrobot-v1": "LINK_MASS_2",
}


@pytest.mark.parametrize("limit", [None, 37])
@pytest.mark.parametrize("name", KINDS)
def test_bit_equal_to_gymnasium(name: str, limit: int | None) -> None:
    """Observations, rewards, ends, time limits, rows that only reset and random streams."""
    ours, theirs = program(name, 5, limit), gymnasiums(name, 5, limit)
    for seeds in ([3, 1, 4, 159, 26], [53, 58, 97, 93, 2**31 - 1]):
        for envs in (ours, theirs):
            envs.reset(seeds)
        assert np.array_equal(ours.obs, theirs.obs)
        assert first_difference(ours, theirs, 750, seeds[0]) is None
    for envs in (ours, theirs):
        envs.reset()  # the streams go on
    assert np.array_equal(ours.obs, theirs.obs)


@pytest.mark.parametrize("name", KINDS)
def test_a_constant_that_is_changed_is_seen(name: str) -> None:
    """By a ten-millionth: the comparison above would not let it pass."""
    ours, theirs = program(name, 5), gymnasiums(name, 5)
    inner = [theirs.envs] if name == "CartPole-v1" else [env.unwrapped for env in theirs.envs]  # type: ignore[attr-defined]
    for env in inner:
        setattr(env, CONSTANTS[name], getattr(env, CONSTANTS[name]) * (1 + 1e-7))
    for envs in (ours, theirs):
        envs.reset([1, 2, 3, 4, 5])
    assert first_difference(ours, theirs, 300, 0) is not None


def unpack_stream(words: np.ndarray) -> dict[str, Any]:
    """A ``bit_generator.state`` from a stream: the inverse of ``pack_stream``.

    Half a number of 32 bits that was left over is not kept: ``draw_uniform`` never leaves one.
    """
    high, low, increment_high, increment_low = (int(word) for word in words)
    inner = {"state": high << 64 | low, "inc": increment_high << 64 | increment_low}
    return {"bit_generator": "PCG64", "state": inner, "has_uint32": 0, "uinteger": 0}


def test_numbers_of_pcg64_are_numpys() -> None:
    envs, generator = program("MountainCar-v0", 1), np.random.default_rng(7)
    envs.streams = pack_stream(generator.bit_generator.state)[None]
    for _ in range(2000):
        envs.reset()
        assert envs.place[0, 0] == generator.uniform(-0.6, -0.4)
    assert unpack_stream(envs.streams[0]) == generator.bit_generator.state


def outcome(envs: Program, steps: int, seed: int) -> bytes:
    rng, actual = np.random.default_rng(seed), b""
    for _ in range(steps):
        actual += b"".join(x.tobytes() for x in envs.step(actions(envs, rng)))
        actual += envs.obs.tobytes() + envs.ended.tobytes()
    return actual


@pytest.mark.parametrize("name", KINDS)
def test_it_goes_on_bit_for_bit_from_every_step(name: str) -> None:
    """Into another program with another past; over time limits of twelve steps."""
    first, second = program(name, 3, 12), program(name, 3, 12)
    first.reset([1, 2, 3])
    second.reset([7, 8, 9])
    for t in range(30):
        state = first.state_dict()
        wanted = outcome(first, 15, t)
        outcome(second, 2, t)
        second.load_state_dict(state)
        assert outcome(second, 15, t) == wanted
        first.load_state_dict(state)
        outcome(first, 1, t)


def test_it_goes_on_from_a_file(tmp_path: Path) -> None:
    first, second = program("Acrobot-v1", 3, 12), program("Acrobot-v1", 3, 12)
    first.reset([1, 2, 3])
    outcome(first, 17, 0)
    Checkpoints(tmp_path).save(1, first.state_dict())
    second.load_state_dict(Checkpoints(tmp_path).load()[0])
    assert outcome(first, 40, 1) == outcome(second, 40, 1)


def test_observations_keep_the_float64_that_is_asked_for() -> None:
    envs = program("Pendulum-v1", 2)
    envs.keep_float64()
    envs.reset([0, 1])
    envs.step(np.zeros((2, 1), np.float32))
    assert envs.obs.dtype == np.float64
    assert np.array_equal(envs.obs, envs.rows)


# --- env.vector ---------------------------------------------------------------------------------------


def kind(name: str, **given: object) -> type:
    envs = make_envs(EnvSettings(name, 2, **given), 2)  # type: ignore[arg-type]
    envs.close()
    return type(envs)


def test_the_setting_says_how_columns_are_stepped() -> None:
    assert kind("Pendulum-v1") is kind("Pendulum-v1", vector="native") is Program
    assert kind("CartPole-v1", vector="loop") is kind("FrozenLake-v1", vector="loop") is Loop
    assert kind("FrozenLake-v1") is kind("FrozenLake-v1", vector="native") is TableEnvs
    assert kind("Pendulum-v1", kwargs={"g": 9.0}) is Loop
    assert kind("MountainCar-v0", max_episode_steps=9) is Program


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (EnvSettings("Pendulum-v1", 2, None, {"g": 9.0}, vector="native"), "knows no env.kwargs"),
        (EnvSettings("pgrun/LQ1-v0", 2, vector="native"), "env=pgrun/LQ1-v0 has none"),
    ],
    ids=str,
)
def test_a_program_that_is_not_there_is_refused(env: EnvSettings, said: str) -> None:
    for ask in (make_probed_env, lambda env: make_envs(env, 2)):
        with pytest.raises(InvalidCommand, match=f"env.vector=native: .*{said}.*type env.vector=loop"):
            ask(env)


def test_without_numba_there_is_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["pgrun.envs.make"], "is_available", lambda: False)
    assert kind("Pendulum-v1") is Loop
    with pytest.raises(InvalidCommand, match=r"needs numba, which is not installed"):
        make_envs(EnvSettings("Pendulum-v1", 2, vector="native"), 2)


class Mine(PendulumEnv):
    """A user's own under a name of gymnasium's."""


def test_what_a_user_registered_under_the_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gym.registry, "Pendulum-v1", gym.envs.registration.EnvSpec("Pendulum-v1", Mine))
    assert isinstance(make_one(EnvSettings("Pendulum-v1", 1)).unwrapped, Mine)
    assert kind("Pendulum-v1") is Loop
