"""A few kills of the campaign in tests/campaigns/crashes.py, which has hundreds: real
processes, real SIGKILL.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import crashes
from tests.helpers.support_fork import in_campaign

CASE = "ppo CartPole-v1"


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_runs_go_on_to_the_same_end(count: int, tmp_path: Path) -> None:
    """At random times, inside the writing of checkpoints, and ten times in a row."""
    kinds = ["at_random_times", "while_saving", *(["in_chains"] if count > 1 else [])]
    crashes.start(crashes.composed(CASE, 1), tmp_path)  # whose kernels are in memory before anything forks
    told = in_campaign(crashes, "--kills", str(count), "--only", *kinds, "--cases", CASE)
    assert int(told.splitlines()[-1].split()[0]) >= (3 + 6 + 1 if count > 1 else 2), told
