"""A few faults of the campaign in tests/campaigns/disk.py, which has hundreds."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.campaigns import disk
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_fork import in_campaign


@pytest.fixture(autouse=True)
def kernels(here: Path) -> None:  # noqa: F811
    """In memory before anything forks, with all else that such a run needs."""
    assert pgrun(f"{shlex.join(disk.WORDS)} hydra.run.dir=first").code == 0


@pytest.mark.parametrize(
    "words",
    [["--calls", "1", "--only", "at_calls"], pytest.param(["--calls", "3"], marks=pytest.mark.slow)],
    ids=["one call", "three calls, and real disks"],
)
def test_a_failing_disk_ends_in_one_line_and_loses_nothing(words: list[str]) -> None:
    """Full, read-only and failing at some calls; the long one also on disks that are really filled, and
    really read-only, where mounting is permitted.
    """
    words = words if "--only" in words else [*words, "--only", "at_calls", "really_full", "really_read_only"]
    told = in_campaign(disk, *words)
    assert told.count("disk, at a call") == 5  # full, read-only, failing, over its quota, forbidden


@pytest.mark.parametrize(
    "words",
    [["--calls", "1", "--only", "moved_away"], pytest.param(["--calls", "4"], marks=pytest.mark.slow)],
    ids=["one call", "four calls"],
)
def test_a_folder_that_is_moved_away_goes_on_where_it_is(words: list[str]) -> None:
    """At a call after the first checkpoint; nothing is made in its place."""
    in_campaign(disk, *(words if "--only" in words else [*words, "--only", "moved_away"]))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["search", "sweep"])
def test_several_runs_on_a_full_disk_are_those_that_never_stopped(what: str) -> None:
    """Filled early and late, continued where there is room: the same trials and results."""
    told = in_campaign(disk, "--calls", "10", "--only", what, "--backend", "torch")
    if "left out" in told:
        pytest.skip("no disk can be mounted here")
    row = next(line for line in told.splitlines() if line.startswith(f"{what} on a full disk"))
    faults, _, resumed, failed = map(int, row.removeprefix(f"{what} on a full disk").split()[:4])
    assert faults == resumed > 0
    assert failed == 0
