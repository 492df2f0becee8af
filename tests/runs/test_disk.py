"""A few faults of the campaign in tests/campaigns/disk.py, which has hundreds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "campaigns" / "disk.py"


@pytest.mark.parametrize(
    "words",
    [["--calls", "1", "--only", "at_calls"], pytest.param(["--calls", "3"], marks=pytest.mark.slow)],
    ids=["one call", "three calls, and real disks"],
)
def test_a_failing_disk_ends_in_one_line_and_loses_nothing(words: list[str]) -> None:
    """Full, read-only and failing at some calls; the long one also on disks that are really filled, where
    mounting is permitted.
    """
    words = words if "--only" in words else [*words, "--only", "at_calls", "really_full"]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("disk, at a call") == 3  # full, read-only, failing


@pytest.mark.slow
def test_a_search_on_a_full_disk_is_the_one_that_never_stopped() -> None:
    """Filled early and late, continued where there is room: the same trials and results."""
    words = ["--calls", "10", "--only", "search", "--backend", "torch"]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if "left out" in done.stdout:
        pytest.skip("no disk can be mounted here")
    row = next(line for line in done.stdout.splitlines() if line.startswith("search on a full disk"))
    faults, _, resumed, failed = map(int, row.removeprefix("search on a full disk").split()[:4])
    assert faults == resumed > 0
    assert failed == 0
