"""An evaluation that fails loses nothing: the policy is there, the run says how it
goes on, and then does only that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import pgrun.rollouts.samplers.episodes as episodes
from pgrun.tools.play.cli import main as play
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import answer, pgrun
from tests.helpers.support_pipeline import trained
from tests.helpers.support_resume import differences, rows, trace
from tests.training.test_resume import stop_after

LINE = (
    "algo=a2c env=support_odd_envs:Lingering-v0 tuned=none network.hidden=[8] env.num_envs=2 sampler.steps=8 "
    "trainer.total_steps=64 trainer.eval_episodes=2 trainer.eval_every=null logger.progress=false"
)
AGAIN = "env=support_odd_envs:Lingering-v0"


@pytest.fixture
def failed(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A run whose training is over, and whose evaluation never ends."""
    monkeypatch.setattr(episodes, "CAP", 40)
    answer = pgrun(f"{LINE} hydra.run.dir=r")
    assert answer.code == 1
    assert (
        "in evaluation: column 0, episode 0, step 40: the episode is still going: set "
        "env.max_episode_steps or trainer.eval_max_steps"
    ) in answer.err
    assert "training is over and saved with its policy" in answer.err
    assert f"pgrun resume=r {AGAIN} goes on, and trainer.eval_max_steps=1000 cuts" in answer.err
    return here


def test_a_run_that_is_stopped_by_its_return_is_evaluated_as_any_other(tmp_path: Path) -> None:
    """Not by the few episodes of the evaluations on the way."""
    words = ("env=CartPole-v1", "trainer.total_steps=30000", "trainer.stop_at_return=12")
    _, summary = trained(tmp_path, *words, "trainer.eval_every=auto", "trainer.eval_episodes=8")
    assert summary["env_steps"] < 30000
    assert summary["eval"]["episodes"] == 8


def test_its_policy_is_there(failed: Path) -> None:
    played = answer(play, "pgrun-play", "r", "--env", AGAIN[4:], "--max-steps", "30")
    assert (played.code, "length   30.0 ± 0.0" in played.out) == (0, True), played
    endless = answer(play, "pgrun-play", "r", "--env", AGAIN[4:])
    assert (endless.code, "still going: add --max-steps 1000" in endless.err) == (1, True), endless


def test_going_on_is_the_evaluation_alone(failed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree("r", "other")
    assert pgrun(f"{LINE} trainer.eval_max_steps=30 hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patch:
        executed = stop_after(0, patch)
        assert pgrun(f"resume=r {AGAIN} trainer.eval_max_steps=30").code == 0
        assert pgrun(f"resume=other {AGAIN} env.max_episode_steps=30").code == 0, "the other way to say it"
    assert executed == []
    for folder in ("r", "other"):
        assert differences(trace(failed / folder), trace(failed / "whole")) == []
    assert json.loads((failed / "r" / "summary.json").read_text())["eval"]["return_mean"] == 30


def test_the_same_evaluation_fails_again(failed: Path) -> None:
    """And the one after that is still possible."""
    assert pgrun(f"resume=r {AGAIN}").code == 1
    assert pgrun(f"resume=r {AGAIN} trainer.eval_max_steps=30").code == 0


def test_training_may_go_on_instead(failed: Path) -> None:
    line = f"resume=r {AGAIN} trainer.total_steps=128 trainer.eval_max_steps=30"
    assert pgrun(line).code == 0
    longer = LINE.replace("total_steps=64", "total_steps=128")
    assert pgrun(f"{longer} trainer.eval_max_steps=30 hydra.run.dir=whole").code == 0
    assert rows(failed / "r") == rows(failed / "whole")


def test_in_the_middle_of_training(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """An evaluation there may be cut too; the training environments' own limit stays."""
    monkeypatch.setattr(episodes, "CAP", 40)
    line = LINE.replace("eval_every=null", "eval_every=32") + " trainer.checkpoint_every=16"
    answer = pgrun(f"{line} hydra.run.dir=r")
    assert answer.code == 1
    assert "training is saved up to environment step " in answer.err
    refused = pgrun(f"resume=r {AGAIN} env.max_episode_steps=30")
    assert (refused.code, "trainer.eval_max_steps cuts the episodes of evaluations" in refused.err) == (
        2,
        True,
    )
    assert pgrun(f"resume=r {AGAIN} trainer.eval_max_steps=30").code == 0
    assert pgrun(f"{line} trainer.eval_max_steps=30 hydra.run.dir=whole").code == 0
    assert differences(trace(here / "r"), trace(here / "whole")) == []
