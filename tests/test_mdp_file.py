"""A user's MDP from a file is the MDP that it says, and a file that says none is refused with its place."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
import yaml

import pgrun.problems.registration  # noqa: F401
from pgrun.exact import objective, problem
from pgrun.problems.mdp_file import from_file

# two states: action 0 stays and earns 1, action 1 goes to state 1 (or ends, 0.25); state 1 ends with 2 or 3 at even odds
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
    exact = objective(problem(env), PI, 0.9)
    assert torch.isclose(exact, torch.tensor((0.5 + 0.9375 * 0.9) / 0.55, dtype=torch.float64))


def test_numpy_says_the_same(tmp_path: Path) -> None:
    chances = np.zeros((2, 2, 2))
    chances[0, 0, 0], chances[0, 1, 1] = 1.0, 0.75
    reward = np.array([[1.0, 0.0], [2.5, 2.5]])
    np.savez(tmp_path / "own.npz", P=chances, R=reward, start=[1.0, 0.0])
    a = problem(gymnasium.make("pgrun/Table-v0", file=str(tmp_path / "own.npz")))
    b = problem(gymnasium.make("pgrun/Table-v0", file=saved(tmp_path, OWN)))
    for mine, theirs in ((a.transition, b.transition), (a.reward, b.reward), (a.start, b.start)):
        assert torch.allclose(mine, theirs)


def changed(place: str, value: object) -> dict:
    content = yaml.safe_load(yaml.safe_dump(OWN))
    exec(f"content{place} = value", {"content": content, "value": value})
    return content


WRONG = [
    ("nothing in common", "must hold P and start"),
    ({"P": OWN["P"]}, "must hold P and start"),
    (changed("['P'][0][1][0][0]", 0.5), r"P\[0\]\[1\]: the probabilities"),
    (changed("['P'][0][1][0][0]", -0.25), r"P\[0\]\[1\]: the probabilities"),
    (changed("['P'][0][1][0][1]", 7), r"P\[0\]\[1\]: a next state is one of 0 … 1"),
    (changed("['P'][0][1][0][2]", float("nan")), r"P\[0\]\[1\]: .* a reward finite"),
    (changed("['P'][0][1][0]", [1.0, 1]), r"P\[0\]\[1\] must be a list"),
    (changed("['P'][1]", OWN["P"][1][:1]), "the same number of actions"),
    (changed("['start']", [0.5, 0.4]), "start must be 2 probabilities"),
    ({**OWN, "seen": [0, 2]}, "without gaps"),
    ({**OWN, "seen": [0]}, "one for each state"),
]


@pytest.mark.parametrize(("content", "sentence"), WRONG)
def test_what_is_no_mdp_is_refused(content: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        from_file(saved(tmp_path, content))


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", P=np.array([{"an": "object"}], dtype=object), R=1, start=1)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        from_file(str(tmp_path / "own.npz"))
