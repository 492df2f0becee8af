"""A mistake is a record, and one sentence wherever it is said."""

from __future__ import annotations

import pytest

from pgrun.command.preflight import refuse_all
from pgrun.errors import PROGRAM, InvalidCommand, Mistake


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (Mistake("gamma", 1.5, "must be in [0, 1]"), "gamma=1.5: must be in [0, 1]"),
        (Mistake("variance", "none", "needs an A", "add a=1"), "variance=none: needs an A: add a=1"),
        (Mistake("seed=0,1", None, "two", f"type {PROGRAM} -m"), "seed=0,1: two: type pgrun-study -m"),
        (Mistake("gamma", 2, "is 2", jobs="seed=1"), "gamma=2: is 2  [seed=1]"),
        (Mistake("gamma", 2, "is 2", jobs="gamma=2"), "gamma=2: is 2"),
        (Mistake("--run", "a", "is b"), "--run a: is b"),
        (Mistake.of("a sentence"), "a sentence"),
        (Mistake("hidden", [1, 2], "{gae:{lam:2}}"), "hidden=[1, 2]: {gae:{lam:2}}"),
    ],
)  # fmt: skip
def test_its_sentence(mistake: Mistake, sentence: str) -> None:
    assert mistake.sentence("pgrun-study") == sentence


def test_each_sentence_is_said_once() -> None:
    refuse_all([])
    one, other = Mistake("a", "1", "x"), Mistake("b", "2", "y")
    with pytest.raises(InvalidCommand, match=r"^a=1: x$"):
        refuse_all([one, Mistake("a", 1, "x")])
    with pytest.raises(InvalidCommand, match=r"^2 problems\n  - a=1: x\n  - b=2: y$"):
        refuse_all([one, other, one])
