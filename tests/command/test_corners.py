"""Combinations that would have been taken and computed something else: refused, with what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

TABLE = "env=FrozenLake-v1"
CUT = "sampler.max_steps=5 sampler.at_cap=truncate"
CASES = {
    "algo=storm_pg reward_scaling=true": ("other units", "add reward_scaling=false"),
    f"algo=ppo variance=td0 critic=vine reference.policy=start {TABLE}": (
        "critic=vine knows the values of the environment's own rewards",
        "add reference.place=loss",
    ),
    f"algo=reinforce variance=value_baseline critic=vine {CUT} {TABLE}": (
        "knows nothing of what comes behind a cut",
        "take env.max_episode_steps=5",
    ),
    f"algo=a2c reference.policy=start diagnostics.exact=true {TABLE}": (
        "reference.place=reward charges them",
        "add reference.place=loss",
    ),
    "algo=off_policy_ac critic.samples=32": ("are listed", "critic.samples"),
    "diagnostics.detail=true diagnostics.gradient_every=0": ("takes none", "diagnostics.detail"),
    "algo=reinforce network=shared": ("has no critic to share it with", "take variance=gae"),
}


@pytest.mark.parametrize("line", CASES)
def test_refused_with_what_to_type(line: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(line)
    assert answer.code == 2
    assert [x for x in CASES[line] if x not in answer.err] == []
    assert not list(here.iterdir())
