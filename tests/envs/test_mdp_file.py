"""A user's MDP from a file is the MDP that it says, and a file that says none is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import yaml

import pgrun.envs.problems.registration  # noqa: F401
from pgrun.envs import EnvSettings
from pgrun.envs.make import make_one, make_probed_env
from pgrun.envs.problems.mdp_file import load_mdp
from pgrun.envs.table import check_table, has_table
from pgrun.errors import InvalidCommand
from pgrun.exact import objective, read_problem

# two states: action 0 stays and earns 1, action 1 goes to state 1 (or ends, 0.25); state 1 ends with 2 or 3
# at even odds
OWN = {
    "start": [1, 0],
    "P": [
        [[[1.0, 0, 1.0, False]], [[0.75, 1, 0.0, False], [0.25, 0, 0.0, True]]],
        [[[0.5, 1, 2.0, True], [0.5, 1, 3.0, True]]] * 2,
    ],
}
PI = torch.full((2, 2), 0.5, dtype=torch.float64)


def saved(folder: Path, content: object) -> str:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_its_value_is_the_one_worked_by_hand(tmp_path: Path) -> None:
    """v₁ = 2.5; v₀ = ½(1 + γv₀) + ½·0.75·γv₁, so v₀ = (0.5 + 0.9375γ)/(1 − γ/2)."""
    env = gymnasium.make("pgrun/Table-v0", file=saved(tmp_path, OWN))
    exact = objective(read_problem(env), PI, 0.9)
    assert torch.isclose(exact, torch.tensor((0.5 + 0.9375 * 0.9) / 0.55, dtype=torch.float64))


def test_numpy_says_the_same(tmp_path: Path) -> None:
    chances = np.zeros((2, 2, 2))
    chances[0, 0, 0], chances[0, 1, 1] = 1.0, 0.75
    reward = np.array([[1.0, 0.0], [2.5, 2.5]])
    np.savez(tmp_path / "own.npz", P=chances, R=reward, start=[1.0, 0.0])
    a = read_problem(gymnasium.make("pgrun/Table-v0", file=str(tmp_path / "own.npz")))
    b = read_problem(gymnasium.make("pgrun/Table-v0", file=saved(tmp_path, OWN)))
    for mine, theirs in ((a.transition, b.transition), (a.reward, b.reward), (a.start, b.start)):
        assert torch.allclose(mine, theirs)


def changed(place: str, value: object) -> dict:
    content = yaml.safe_load(yaml.safe_dump(OWN))
    exec(f"content{place} = value", {"content": content, "value": value})
    return content


WRONG = [
    ("nothing in common", "must hold P and start"),
    ({"P": OWN["P"]}, "must hold P and start"),
    (changed("['P'][0][1][0][0]", 0.5), r"P\[0\]\[1\]: the probabilities add up to 0.75"),
    (changed("['P'][0][1][0][0]", -0.25), r"P\[0\]\[1\]: a probability of -0.25 is none in \[0, 1\]"),
    (changed("['P'][0][1][0][0]", "one"), r"P\[0\]\[1\]: a probability of one is none"),
    (changed("['P'][0][1][0][0]", float("nan")), r"P\[0\]\[1\]: a probability of nan is none"),
    (changed("['P'][0][1][0][0]", [0.75]), r"P\[0\]\[1\]: a probability of \[0.75\] is none"),
    (changed("['P'][0][1][0][1]", 7), r"P\[0\]\[1\]: next state 7: one of 0 … 1"),
    (changed("['P'][0][1][0][1]", -1), r"P\[0\]\[1\]: next state -1"),
    (changed("['P'][0][1][0][1]", 1.0), r"P\[0\]\[1\]: next state 1.0"),
    (changed("['P'][0][1][0][1]", True), r"P\[0\]\[1\]: next state True"),
    (changed("['P'][0][1][0][2]", float("nan")), r"P\[0\]\[1\]: reward nan: a number is needed, finite"),
    (changed("['P'][0][1][0][2]", 1e39), r"P\[0\]\[1\]: reward 1e\+39"),
    (changed("['P'][0][1][0][2]", True), r"P\[0\]\[1\]: reward True"),
    (changed("['P'][0][1][0][2]", None), r"P\[0\]\[1\]: reward None"),
    (changed("['P'][0][1][0][3]", "maybe"), r"P\[0\]\[1\]: end 'maybe': true or false is needed"),
    (changed("['P'][0][1][0][3]", 1), r"P\[0\]\[1\]: end 1: true or false"),
    (changed("['P'][0][1]", []), r"P\[0\]\[1\]: the probabilities add up to 0,"),
    (changed("['P'][0][1]", 3), "P must be a list by state of lists by action"),
    (changed("['P']", None), "P must be a list by state of lists by action"),
    (changed("['P']", {0: {0: []}}), "P must be a list by state of lists by action"),
    (changed("['P']", []), "the same number of actions"),
    ({**OWN, "sene": [0, 0]}, "sene: no such entry"),
    ({**OWN, "start": None}, "start must be 2 probabilities"),
    ({**OWN, "start": {"a": 1}}, "start must be 2 probabilities"),
    ({**OWN, "start": [1, 0, 0]}, "start must be 2 probabilities"),
    ({**OWN, "start": [float("nan"), 1]}, "start must be 2 probabilities"),
    ({**OWN, "start": [True, False]}, "start must be 2 probabilities"),
    ({**OWN, "seen": "zero"}, "seen must be a list of integers"),
    ({**OWN, "seen": [0.0, 1.0]}, "seen must be a list of integers"),
    ({**OWN, "seen": [False, True]}, "seen must be a list of integers"),
    ({**OWN, "seen": [-1, 0]}, "without gaps"),
    (changed("['P'][0][1][0]", [1.0, 1]), r"P\[0\]\[1\] must be a list"),
    (changed("['P'][1]", OWN["P"][1][:1]), "the same number of actions"),
    (changed("['start']", [0.5, 0.4]), "start must be 2 probabilities"),
    ({**OWN, "seen": [0, 2]}, "without gaps"),
    ({**OWN, "seen": [0]}, "one for each state"),
]


@pytest.mark.parametrize(("content", "sentence"), WRONG)
def test_what_is_no_mdp_is_refused(content: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_mdp(saved(tmp_path, content))


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", P=np.array([{"an": "object"}], dtype=object), R=1, start=1)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_mdp(str(tmp_path / "own.npz"))


RIGHT = {"P": np.full((2, 2, 2), 0.5), "R": np.zeros((2, 2)), "start": np.array([1.0, 0.0])}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("P", RIGHT["P"] + 0j, "P must be of real numbers, not complex128"),
        ("R", RIGHT["R"] + 0j, "R must be of real numbers, not complex128"),
        ("start", RIGHT["start"] + 0j, "start must be of real numbers, not complex128"),
        ("P", np.full((2, 2, 2), "x"), "P must be of real numbers, not <U1"),
        ("P", np.full((2, 2, 2), True), "P must be of real numbers, not bool"),
        ("P", np.full((2, 2, 3), 1 / 3), r"P must be \[S, A, S\], and is \[2, 2, 3\]"),
        ("P", np.full((2, 2), 0.5), r"must hold P \[S, A, S\]"),
        ("P", np.ones((2, 2, 2)), "add up to 2"),
        ("R", np.zeros(2), r"R must be \[2, 2\] or \[2, 2, 2\]"),
        ("start", np.array(1.0), "start must be 2 probabilities"),
        ("start", np.array([1.0, 0, 0]), "start must be 2 probabilities"),
        ("seen", np.zeros((2, 2)), "seen must be a list of integers"),
        ("seen", np.array([0.0, 1.5]), "seen must be a list of integers"),
    ],
)
def test_arrays_that_are_no_mdp_are_refused(
    name: str, value: np.ndarray, sentence: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "own.npz", **RIGHT)
    load_mdp(str(tmp_path / "own.npz"))
    np.savez(tmp_path / "own.npz", **{**RIGHT, name: value})
    with pytest.raises(ValueError, match=sentence):
        load_mdp(str(tmp_path / "own.npz"))


@pytest.mark.parametrize(
    "name",
    [name for name in gymnasium.registry if name.startswith(("pgrun/", "FrozenLake", "Cliff", "Taxi"))],
)
def test_the_tables_that_come_with_pgrun_and_gymnasium_are_right(name: str) -> None:
    """Also with every setting of theirs that changes the table."""
    for kwargs in ({}, {"is_slippery": False}, {"is_slippery": True}, {"is_rainy": True}):
        try:
            env = gymnasium.make(name, **kwargs)
        except (TypeError, ValueError):  # without such a setting, or a file that is to be named
            continue
        if has_table(env):
            check_table(env)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"success_rate": 7}, "a probability of -3.0 is none"),
        ({"success_rate": -1}, "a probability of -1 is none"),
        ({"success_rate": float("nan")}, "a probability of nan is none"),
        ({"desc": ["FF", "FG"]}, "start must be 4 probabilities"),
        ({"reward_schedule": (float("nan"), 0, 0)}, "reward nan"),
    ],
)
def test_a_table_made_from_settings_is_looked_at_too(
    kwargs: dict, sentence: str, recwarn: pytest.WarningsRecorder
) -> None:
    """In one sentence, without NumPy's warnings before it; and where exact values are asked for."""
    with pytest.raises(InvalidCommand, match=f"^env=FrozenLake-v1 with env.kwargs=.*{sentence}"):
        make_one(EnvSettings("FrozenLake-v1", 1, None, kwargs))
    assert not recwarn.list
    with pytest.raises(LookupError, match="its transition table is none"):
        read_problem(gymnasium.make("FrozenLake-v1", disable_env_checker=True, **kwargs))


@pytest.mark.parametrize("vector", ["auto", "loop"])
def test_a_map_that_is_drawn_anew_each_time_is_refused(vector: Any) -> None:
    """FrozenLake's, without a name or a drawing: evaluation and a resumed run would have others."""
    with pytest.raises(InvalidCommand, match=r"another problem each time it is made.*env\.kwargs\.desc="):
        make_probed_env(EnvSettings("FrozenLake-v1", 2, None, {"map_name": None}, vector=vector))
    for given in ({}, {"map_name": "8x8"}, {"map_name": None, "desc": ["SF", "HG"]}):
        make_probed_env(EnvSettings("FrozenLake-v1", 2, None, given, vector=vector))
