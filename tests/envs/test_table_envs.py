"""The array program of a transition table beside the single environment it stands for."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.make import make_one
from pgrun.envs.table import TableEnvs, cumulate_chances, draw_outcomes, keeps_to_table
from pgrun.envs.vector import Loop

IDS = ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "pgrun/SmallMDP-v0", "pgrun/Mismatch-v0"]


def both(env: EnvSettings, columns: int) -> tuple[TableEnvs, Loop]:
    table = make_envs(env, columns)
    assert isinstance(table, TableEnvs)
    return table, Loop(lambda: make_one(env), columns)


@pytest.mark.parametrize(
    "env",
    [
        EnvSettings("FrozenLake-v1", 4, 7, {"is_slippery": False}),
        EnvSettings("CliffWalking-v1", 4, 9),
        EnvSettings("pgrun/Mismatch-v0", 4),
        EnvSettings("pgrun/FixedHorizon-v0", 4, None, {"T": 3}),
    ],
    ids=lambda env: env.id,
)
def test_the_same_steps_where_nothing_is_drawn(env: EnvSettings) -> None:
    """Observations, rewards, ends, time limits and the rows that only reset."""
    table, loop = both(env, 4)
    for envs in (table, loop):
        envs.reset([1, 2, 3, 4])
        envs.follow_states()
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(60):
        action = rng.integers(0, table.action_space.n, 4)  # type: ignore[attr-defined]
        ours, theirs = table.step(action), loop.step(action)
        for x, y in zip(ours, theirs, strict=True):
            assert np.array_equal(x, y)
        assert np.array_equal(table.obs, loop.obs)
        assert np.array_equal(table.ended, loop.ended)
        assert np.array_equal(table.state, loop.state)
        ends += table.ended.sum()
    assert ends > 0
    for envs in (table, loop):
        envs.close()


@pytest.mark.parametrize("name", IDS)
def test_outcomes_come_as_often_as_the_table_says(name: str) -> None:
    """From one state and action, 100 000 draws: every frequency within five standard errors of its chance. Of
    Taxi's table, where every chance is 1, a tenth of them.
    """
    count = 10_000 if name == "Taxi-v4" else 100_000
    table = make_envs(EnvSettings(name, 1), count)
    assert isinstance(table, TableEnvs)
    table.reset([0])
    law = table.one.unwrapped.P  # type: ignore[attr-defined]
    if name == "Taxi-v4":
        assert {chance for actions in law.values() for row in actions.values() for chance, *_ in row} == {1.0}
    for s, a in ((0, 0), (len(law) // 2, len(law[0]) - 1)):
        table.at, table.steps = np.full(count, s), np.zeros(count, int)
        table.ended = np.zeros(count, bool)
        reward, terminated, _ = table.step(np.full(count, a))
        expected: dict[tuple[int, float, bool], float] = {}
        for chance, n, r, end in law[s][a]:
            key = (int(n), float(r), bool(end))
            expected[key] = expected.get(key, 0.0) + chance
        collected = dict.fromkeys(expected, 0)
        for key in zip(table.at.tolist(), reward.tolist(), terminated.tolist(), strict=True):
            collected[key] += 1  # what the table does not know would be a KeyError
        for key, chance in expected.items():
            error = np.sqrt(chance * (1 - chance) / count)
            assert abs(collected[key] / count - chance) <= 5 * error, (s, a, key)
    table.close()


def test_first_states_come_as_often_as_they_should() -> None:
    table = make_envs(EnvSettings("pgrun/SmallMDP-v0", 1), 100_000)
    table.reset([0])
    share = table.obs.mean(0)
    assert np.abs(share - 0.25).max() < 5 * np.sqrt(0.1875 / 1e5)
    table.close()


def test_what_is_saved_goes_on_alike() -> None:
    env = EnvSettings("FrozenLake-v1", 8)
    table, other = make_envs(env, 8), make_envs(env, 8)
    table.reset([5])
    rng = np.random.default_rng(1)
    actions = rng.integers(0, 4, (80, 8))
    for action in actions[:40]:
        table.step(action)
    other.reset([6])
    other.load_state_dict(table.state_dict())
    for action in actions[40:]:
        assert all(np.array_equal(x, y) for x, y in zip(table.step(action), other.step(action), strict=True))
        assert np.array_equal(table.obs, other.obs)
    table.close()
    other.close()


def test_rounding_never_draws_what_has_no_chance() -> None:
    cumulative = cumulate_chances(np.array([0.1] * 3 + [0.7 - 1e-12, 0.0]))
    assert draw_outcomes(cumulative, np.array([1 - 1e-16, 0.0])).tolist() == [3, 0]


def test_only_what_is_nothing_but_its_table() -> None:
    class More(type(gymnasium.make("FrozenLake-v1").unwrapped)):  # type: ignore[misc]
        """A user's own: its step may do anything."""

    assert keeps_to_table(make_one(EnvSettings("FrozenLake-v1", 1)))
    assert not keeps_to_table(More())
    assert not keeps_to_table(make_one(EnvSettings("CartPole-v1", 1)))
    assert not keeps_to_table(gymnasium.make("Taxi-v4", fickle_passenger=True, disable_env_checker=True))
    assert not keeps_to_table(
        gymnasium.wrappers.TransformReward(make_one(EnvSettings("FrozenLake-v1", 1)), abs)
    )
