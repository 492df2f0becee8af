"""A few kills of the campaign in tests/campaigns/crashes.py, which has hundreds: real
processes, real SIGKILL.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "campaigns" / "crashes.py"


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_runs_go_on_to_the_same_end(count: int) -> None:
    """At random times, inside the writing of checkpoints, and ten times in a row."""
    kinds = ["at_random_times", "while_saving", *(["in_chains"] if count > 1 else [])]
    words = ["--kills", str(count), "--only", *kinds, "--cases", "ppo CartPole-v1"]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = int(done.stdout.splitlines()[-1].split()[0])
    assert kills >= (3 + 6 + 1 if count > 1 else 2), done.stdout
