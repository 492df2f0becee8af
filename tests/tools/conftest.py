"""What the tests of pgrun-play share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.support_pipeline import trained
from tests.helpers.support_play import SHORT


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on CartPole."""
    folder = tmp_path_factory.mktemp("cartpole")
    changes = {"trainer.eval_episodes": 3, "trainer.eval_every": 64, "env.max_episode_steps": 30}
    trained(folder, *SHORT, state_norm=True, **changes)
    return folder
