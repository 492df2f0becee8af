"""A run that stops anywhere and goes on is the run that never stopped: parameters, metrics.csv and event
scalars, bit for bit.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import pgrun.training.loop as training
from pgrun.cli.main import main
from pgrun.config.paths import conf_dir
from pgrun.runs.resume_run import find_stretched_schedules
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.build import build_run
from pgrun.training.loop import train_run
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_fork import ForkedCommand
from tests.helpers.support_pipeline import settings
from tests.helpers.support_resume import rows, scalars, told, trace
from tests.helpers.support_slow import slow_but

ALGOS = sorted(path.stem for path in (conf_dir() / "algo").glob("*.yaml"))
TINY = ["network.hidden=[8]", "env.num_envs=2", "diagnostics.gradient_every=1"]
SIZES = {
    "episodes": ["sampler.episodes=3", "trainer.total_steps=250"],
    "steps": ["sampler.steps=16", "trainer.total_steps=192"],
    "replay": ["sampler.batch=8", "sampler.warmup=8", "trainer.total_steps=40"],
}
EPISODES = ("reinforce", "off_policy_pg", "storm_pg")


def words(algo: str, env: str) -> list[str]:
    sampler = "episodes" if algo in EPISODES else "replay" if algo == "off_policy_ac" else "steps"
    limit = ["env.max_episode_steps=30"]
    return [f"algo={algo}", f"env={env}", "critic/optimizer=adam", *TINY, *SIZES[sampler], *limit]


class Killed(BaseException):
    """Comes from nowhere, as kill -9 does."""


def stop_after(updates: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows collected by every call from now on; dies in the call after ``updates`` of them."""
    steps: list[int] = []
    real = training.update_from_rollout

    def update(run, rollout, counters):
        steps.append(int(rollout.mask.sum()))
        if len(steps) > updates:
            raise Killed
        return real(run, rollout, counters)

    monkeypatch.setattr(training, "update_from_rollout", update)
    return steps


def straight(folder: Path, own: dict[str, Any]) -> Path:
    folder.mkdir()
    train_run(build_run(own), folder)
    return folder


def killed_and_resumed(folder: Path, own: dict[str, Any], updates: int, monkeypatch) -> tuple[int, int]:
    """(environment steps at the last checkpoint, steps executed after it)."""
    folder.mkdir()
    with monkeypatch.context() as patch:
        stop_after(updates, patch)
        with pytest.raises(Killed):
            train_run(build_run(own), folder)
    state, problems = Checkpoints(folder / "checkpoints").load()
    assert problems == []
    with monkeypatch.context() as patch:
        executed = stop_after(10**9, patch)
        train_run(build_run(state["settings"]), folder, state)
    return state["counters"]["env_steps"], sum(executed)


def every(own: dict[str, Any], steps: int) -> dict[str, Any]:
    return {**own, "trainer": {**own["trainer"], "checkpoint_every": steps}}


WITH_BOXES = ("ppo", "trpo", "off_policy_ac")  # of those in the quick suite: minibatches, own steps, replay
CASES = [(algo, env) for algo in ALGOS for env in ("CartPole-v1", "Pendulum-v1")]
QUICK = [(algo, env) for algo, env in CASES if env == "CartPole-v1" or algo in WITH_BOXES]


@pytest.mark.parametrize("case", slow_but(QUICK, CASES), ids="-".join)
def test_every_algorithm(case: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = every(settings(*words(*case), "state_norm=true", "reward_scaling=true"), 1)
    whole = straight(tmp_path / "whole", own)
    saved, executed = killed_and_resumed(tmp_path / "resumed", own, 2, monkeypatch)
    assert told(whole) == told(tmp_path / "resumed")
    assert rows(whole) == rows(tmp_path / "resumed")
    assert scalars(whole) == scalars(tmp_path / "resumed")
    assert scalars(whole)
    assert saved + executed == told(whole)["env_steps"]  # only what remained


MUJOCO = ["algo=ppo", "env=HalfCheetah-v5", *TINY, "sampler.steps=8", "trainer.total_steps=96"]
PRACTICE = [
    *("state_norm=true", "reward_scaling=true", "optimizer.schedule=linear", "algo.clip_schedule=linear"),
    *("tuned=none", "trainer.eval_every=40", "env.max_episode_steps=20"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that never stops."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return straight(folder, every(settings(*MUJOCO, *PRACTICE), 1))


@pytest.mark.parametrize("updates", slow_but([1, 4], range(1, 6)))
def test_at_every_update_of_a_mujoco_run(
    updates: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = every(settings(*MUJOCO, *PRACTICE), 1)
    killed_and_resumed(tmp_path / "resumed", own, updates, monkeypatch)
    assert told(whole) == told(tmp_path / "resumed")
    assert rows(whole) == rows(tmp_path / "resumed")


def test_a_chain_of_kills_between_rare_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows after the last checkpoint are written twice and counted once."""
    own = every(settings(*words("ppo", "CartPole-v1"), "trainer.total_steps=384"), 64)
    whole = straight(tmp_path / "whole", own)
    folder = tmp_path / "resumed"
    folder.mkdir()
    saved: dict[str, Any] | None = None
    for _ in range(3):
        with monkeypatch.context() as patch:
            stop_after(3, patch)
            with pytest.raises(Killed):
                train_run(build_run(own), folder, saved)
        saved, _ = Checkpoints(folder / "checkpoints").load()
    train_run(build_run(own), folder, saved)
    assert (told(whole), rows(whole), scalars(whole)) == (told(folder), rows(folder), scalars(folder))


PARTS = ["policy", "optimizer", "critic", "reward_scale", "envs", "noise", "shuffle"]


@pytest.mark.parametrize("lost", [*PARTS, "counters"])
def test_without_any_one_item_it_is_another_run(
    lost: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: each item of the checkpoint is needed, and the comparison can fail."""
    own = every(settings(*MUJOCO, *PRACTICE), 1)
    folder = tmp_path / "resumed"
    folder.mkdir()
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Killed):
            train_run(build_run(own), folder)
    state, _ = Checkpoints(folder / "checkpoints").load()
    if lost == "counters":
        state["counters"]["env_steps"] = 0
    else:
        state["run"][lost] = build_run({**own, "seed": 1}).state_dict()[lost]
    train_run(build_run(own), folder, state)
    assert rows(whole) != rows(folder)


BRIEF = "algo=ppo tuned=none network.hidden=[8] sampler.steps=8 logger.progress=false trainer.eval_episodes=1"
LINE = f"{BRIEF} env=CartPole-v1 trainer.eval_every=null"


def test_the_command_extends_a_finished_run(here: Path) -> None:  # noqa: F811
    assert pgrun(f"{LINE} trainer.total_steps=128 hydra.run.dir=short").code == 0
    assert pgrun(f"{LINE} trainer.total_steps=256 hydra.run.dir=long").code == 0
    assert pgrun("resume=short trainer.total_steps=256").code == 0
    assert told(here / "short") == told(here / "long")


def test_a_longer_run_says_where_its_schedules_stand(finished: Path) -> None:
    """Those that are read, and once: the run's settings are ppo's on CartPole-v1, with no
    schedule but these.
    """
    before = settings("algo=ppo", "optimizer.schedule=linear", "algo.clip_schedule=linear")
    longer = {**before, "trainer": {**before["trainer"], "total_steps": 400_000}}
    (line,) = find_stretched_schedules(before, longer, 100_000)
    assert line == (
        "optimizer.schedule=linear and algo.clip_schedule=linear now reach 0 at step 400000, not 100000: at "
        "step 100000 they stand at 75% of the start, where they stood at 0%"
    )
    assert list(find_stretched_schedules(before, before, 50_000)) == []
    alone = {**before, "algo": {**before["algo"], "clip_schedule": "constant"}}
    (line,) = find_stretched_schedules(alone, {**alone, "trainer": longer["trainer"]}, 50_000)
    assert "linear now reaches 0 at" in line
    assert "it stands at 88% of the start, where it stood at 50%" in line
    unread = settings("algo=trpo", "variance=none", "sampler=episodes")
    unread["optimizer"]["schedule"] = unread["critic"]["optimizer"]["schedule"] = "linear"
    assert list(find_stretched_schedules(unread, {**unread, "trainer": longer["trainer"]}, 50_000)) == []
    assert pgrun(f"{LINE} trainer.total_steps=64 optimizer.schedule=linear hydra.run.dir=l").code == 0
    stretched = pgrun("resume=l trainer.total_steps=128").err
    assert stretched == (
        "pgrun: optimizer.schedule=linear now reaches 0 at step 128, not 64: at step 64 it stands at 50% of "
        "the start, where it stood at 0%\n"
    )
    constant = pgrun("resume=r trainer.total_steps=256")
    assert (constant.code, constant.err) == (0, ""), "nothing where nothing changes over the run"


def test_a_run_killed_before_its_summary_is_finished(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """All that is left to be done is to say so: nothing is trained or evaluated again."""
    line = f"{BRIEF} env=CartPole-v1 trainer.total_steps=4096 trainer.eval_every=64 trainer.stop_at_return=9"
    assert pgrun(f"{line} hydra.run.dir=whole").code == 0
    own = settings(*line.split())
    (here / "r").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_json", dies)
        with pytest.raises(Killed):
            train_run(build_run(own), here / "r")
    (here / "r" / "policy.json").unlink()
    with monkeypatch.context() as patch:
        executed = stop_after(0, patch)
        assert pgrun("resume=r").code == 0
    assert executed == []
    assert trace(here / "r") == trace(here / "whole")
    assert told(here / "r")["env_steps"] < 4096
    answer = pgrun("resume=r")
    assert (answer.code, "is finished" in answer.err) == (2, True)


def dies(*_given: object) -> None:
    raise Killed


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one before is taken, one line says so, and the run comes to the same end."""
    line = f"{LINE} trainer.total_steps=256 trainer.checkpoint_every=1"
    assert pgrun(f"{line} hydra.run.dir=whole").code == 0
    shutil.copytree("whole", "r")
    (here / "r" / "summary.json").unlink()
    newest = max((here / "r" / "checkpoints").glob("*.safetensors"))
    os.truncate(newest, newest.stat().st_size - 1)
    with monkeypatch.context() as patch:
        executed = stop_after(10**9, patch)
        answer = pgrun("resume=r")
    assert (answer.code, len(answer.err.splitlines()), newest.name in answer.err) == (0, 1, True), answer
    assert sum(executed) > 0
    assert trace(here / "r") == trace(here / "whole")


@pytest.fixture
def finished(here: Path) -> Path:  # noqa: F811
    assert pgrun(f"{LINE} trainer.total_steps=128 hydra.run.dir=r").code == 0
    return here


def test_a_reader_that_has_left_unmakes_no_result(tmp_path: Path) -> None:
    """``pgrun … | head -1``: the pipe is closed when the run ends."""
    words = f"{LINE} trainer.total_steps=300 hydra.run.dir={tmp_path}/r".split()
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as nobody:
        run = ForkedCommand(main, words, out=nobody)
        assert run.wait() == 0
        assert "Traceback" not in run.said()[1]
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["status"] == "finished"
