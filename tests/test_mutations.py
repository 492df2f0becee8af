"""The mutation check itself (``python tests/campaigns/mutations.py`` runs it): every fault still has its
place, and the verdict is right.
"""

from __future__ import annotations

import ast

import pytest

from tests.campaigns.mutations import FAULTS, ROOT, Outcome, fault

DEMANDED = {
    "wrong sign",
    "off-by-one in ended",
    "missing detach",
    "wrong power of gamma",
    "bootstrapping from the reset observation",
    "stale log-probabilities",
    "unclipped ratio",
    "beta updated per minibatch",
    "swapped axes",
    "normaliser frozen in training",
    "told of another step than the one taken",
    "another objective judged than differentiated",
}


@pytest.mark.parametrize("one", FAULTS, ids=lambda one: one.name)
def test_a_fault_is_still_a_change_of_the_code(one) -> None:
    """Its text is found exactly once, what comes of it is another program, and its tests exist."""
    text = (ROOT / one.file).read_text()
    assert ast.dump(ast.parse(one.applied(text))) != ast.dump(ast.parse(text))
    assert one.tests
    assert all((ROOT / "tests" / test).is_file() for test in one.tests)


def test_every_kind_that_is_asked_for_is_there_and_no_name_twice() -> None:
    assert {one.kind for one in FAULTS} >= DEMANDED
    assert len({one.name for one in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("text", ["nothing of it", "x = 1; x = 1"])
def test_a_fault_that_lost_its_place_is_reported(text: str) -> None:
    with pytest.raises(LookupError, match="not once"):
        fault("name", "kind", "train", "x = 1", "x = 2", "sampler").applied(text)


def test_only_a_failed_test_counts_as_caught() -> None:
    assert Outcome(1, "test_x.py::test_y", "assert 1 == 2", 1.0).caught
    assert not Outcome(0, "", "5 passed", 1.0).caught
    assert not Outcome(1, "test_x.py::test_y", "NameError: name 'z' is not defined", 1.0).caught
    assert not Outcome(2, "", "error while collecting", 1.0).caught
    assert not Outcome(-1, "", "still running", 300.0).caught
