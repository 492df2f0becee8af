"""Episodes that never end: cut as a time limit does, or told before anything waits for them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support_bad_env import Endless

import pgrun.rollouts.samplers.episodes as episodes
from pgrun.envs import EnvSettings, make_envs
from pgrun.errors import EnvironmentFault
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.tools.study.cli import main as study
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import answer, pgrun
from tests.helpers.support_pipeline import collect_from, draw, small_policy, trained


@pytest.mark.parametrize(
    "words", ["algo=reinforce variance=value_baseline", "algo=ppo sampler=episodes", "algo=reinforce"]
)
@pytest.mark.parametrize("env", ["ProbeMatch-v0", "CartPole-v1", "FrozenLake-v1"])
def test_a_cut_episode_is_a_truncated_one(words: str, env: str, tmp_path: Path) -> None:
    """Bit for bit what the time limit of gymnasium does: through a loop, CartPole's arrays and a table."""
    own = [
        *words.split(),
        f"env={env}",
        "env.num_envs=2",
        "sampler.episodes=6",
        "trainer.total_steps=60",
        "network.hidden=[4]",
    ]
    length = 3 if env != "ProbeMatch-v0" else 1
    collected = []
    for i, cap in enumerate(
        (("sampler.at_cap=truncate", f"sampler.max_steps={length}"), (f"env.max_episode_steps={length}",))
    ):
        (tmp_path / str(i)).mkdir()
        _, summary = trained(tmp_path / str(i), *own, *cap)
        collected.append(summary["params_sha256"])
    assert collected[0] == collected[1]


def test_the_environment_starts_anew_after_a_cut() -> None:
    envs = make_envs(EnvSettings("CartPole-v1", 3), 3)
    rollout, finished = Episodes(9, max_steps=5, at_cap="truncate").collect(
        small_policy(4, 2), envs, draw(), NoRewardScale()
    )
    assert [length for _, length in finished] == [5] * 9
    assert not rollout.terminated.any()
    assert (rollout.raw_obs[0].abs() <= 0.05).all(), "where CartPole starts"


def test_it_is_said_once_what_a_cut_means(caplog: pytest.LogCaptureFixture) -> None:
    sampler = Episodes(4, max_steps=5, at_cap="truncate")
    with caplog.at_level(logging.WARNING):
        collect_from(sampler, Endless(), Endless(), times=3)
    assert [("bootstraps" in text, "biases" in text) for text in caplog.messages] == [(True, True)]


@pytest.mark.parametrize("limit", [None, 30])
def test_the_cap_is_for_environments_without_a_limit(limit: int | None, monkeypatch) -> None:
    monkeypatch.setattr(episodes, "CAP", 20)
    envs = make_envs(EnvSettings("Endless-v0", 2, limit), 2)
    if limit is None:
        with pytest.raises(
            EnvironmentFault,
            match=r"column 0, episode 0, step 20: the episode is still going: set env\.max_ep",
        ):
            Episodes(2).collect(small_policy(2, 2), envs, draw(), NoRewardScale())
    else:
        assert Episodes(2).collect(small_policy(2, 2), envs, draw(), NoRewardScale())[1] == [(30.0, 30)] * 2


@pytest.mark.parametrize("command", ["train", "evaluate", "study"])
def test_nothing_waits_for_an_episode_that_never_ends(command: str, here: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(episodes, "CAP", 50)
    own = "env=support_bad_env:Endless-v0 network.hidden=[4]"
    if command == "study":
        told = answer(
            study, "pgrun-study", *own.split(), "schemes=[none]", "episodes=4", "batch=2", "hydra.run.dir=r"
        )
    else:
        algo = "algo=reinforce" if command == "train" else "algo=a2c"
        told = pgrun(
            f"{own} {algo} trainer.total_steps=64 trainer.eval_every=null logger.progress=false "
            "hydra.run.dir=r"
        )
    assert told.code == 1
    remedy = "trainer.eval_max_steps=1000" if command == "evaluate" else "set env.max_episode_steps"
    assert "step 50: the episode is still going" in told.err
    assert remedy in told.err
    assert ("in evaluation" in told.err) == (command == "evaluate")
