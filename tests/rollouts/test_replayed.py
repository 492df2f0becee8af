"""Episodes under way that are saved as their actions and played again: what is recorded, compared, and said
where it fails.
"""

from __future__ import annotations

import copy
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from support_odd_envs import ACTIONS, Counting, Odd, Overwriting, Paying, SharedRandom
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pgrun.envs.rehearsal as rehearsal
import pgrun.envs.vector as vector
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.faults import Unrepeatable
from pgrun.envs.rehearsal import STEPS, why_unrepeatable
from pgrun.envs.vector import Loop
from pgrun.storage.checkpoint import Checkpoints
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import settings, trained
from tests.helpers.support_resume import rows, told
from tests.training.test_resume import every, killed_and_resumed, straight


def acted(columns: Loop, steps: int, seed: int = 0) -> np.ndarray:
    """The rewards [steps, N] of random actions, resets included."""
    space = copy.deepcopy(columns.action_space)
    space.seed(seed)
    rewards = []
    for _ in range(steps):
        action = np.stack([space.sample() for _ in range(columns.num_envs)])
        reward, terminated, truncated = columns._step(action)
        columns.ended = terminated | truncated
        rewards.append(reward)
    return np.array(rewards)


def started(make: Callable[[], gym.Env], columns: int = 2, seed: int = 0) -> Loop:
    made = Loop(make, columns)
    made.reset(list(range(seed, seed + columns)))
    return made


def saved(columns: Loop) -> dict[str, Any]:
    return copy.deepcopy(columns.state_dict())


# --- what is recorded ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", ACTIONS)
def test_an_environment_may_write_into_its_action(actions: str) -> None:
    first, second = (started(lambda: Overwriting(actions), seed=seed) for seed in (0, 5))
    acted(first, 7)
    second.load_state_dict(saved(first))
    assert (acted(first, 5, 1) == acted(second, 5, 1)).all()
    assert (first.obs == second.obs).all()


@pytest.mark.parametrize("steps", [0, 1, 63, 64, 65, 300])
def test_a_record_grows_and_comes_back_through_a_file(steps: int, tmp_path: Path) -> None:
    """As a tensor of its own, of the actions' own type."""
    first, second = (started(Overwriting, seed=seed) for seed in (0, 5))
    acted(first, steps)
    Checkpoints(tmp_path).save(1, first.state_dict())
    state, _ = Checkpoints(tmp_path).load()
    assert state["columns"][0]["actions"][:1].dtype == (np.float32 if steps else np.float64)
    second.load_state_dict(state)
    assert (acted(first, 70, 1) == acted(second, 70, 1)).all()
    assert second.steps(0) == first.steps(0) == steps + 70
    header = int.from_bytes((tmp_path / "000000001.safetensors").read_bytes()[:8], "little")
    assert header < 4000


def test_an_episode_that_is_too_long_is_given_up_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vector, "BUDGET", 2 * 100 * 16)  # two columns, 100 steps of 8 + 8 bytes
    columns = started(Overwriting)
    columns.name = "env=Long"
    with caplog.at_level(logging.WARNING):
        acted(columns, 100)
        assert not caplog.messages
        acted(columns, 200)
    assert len(caplog.messages) == 2, "once a column"
    assert caplog.messages[0].startswith("env=Long: column 0: its episode has 100 steps and more")
    assert "env.restart=true" in caplog.messages[0]
    assert len(columns.state_dict()["columns"][0]["actions"]) == 0
    with pytest.raises(Unrepeatable, match=r"column 0 cannot be resumed: its episode has 300 steps and more"):
        started(Overwriting).load_state_dict(saved(columns))
    columns.ended[:] = True
    acted(columns, 50)
    started(Overwriting).load_state_dict(saved(columns))  # the next one is recorded again


def test_records_do_not_take_more_than_their_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "BUDGET", 10**5)
    monkeypatch.setattr(Overwriting, "length", 10**9)
    columns, sizes = started(Overwriting, 1), []
    noted: Any = columns.noted[0]
    for _ in range(65):
        acted(columns, 100)
        sizes.append(noted.actions.nbytes + noted.rewards.nbytes)
    assert max(sizes) == 10**5 // 16 * 16
    assert sizes[-1] == 0
    assert noted.steps == 6_500


# --- what is compared ---------------------------------------------------------------------------------------

UNREPEATABLE = {
    "rewards": (Paying, "in step 1 its reward is 1.0 and was 10.0"),
    "observations": (SharedRandom, "gives another observation"),
    "ends": (Counting, "in step 6 its episode ends, or does not"),
}


@pytest.mark.parametrize("what", UNREPEATABLE)
def test_what_differs_when_played_again_is_told(what: str) -> None:
    cls, sentence = UNREPEATABLE[what]
    first, second = started(cls), started(cls)
    acted(first, 6 if what == "ends" else 9)
    first.ended[:] = True
    acted(first, 7)
    with pytest.raises(Unrepeatable, match=f"column 0 cannot be resumed: .*{sentence}"):
        second.load_state_dict(saved(first))


def test_an_end_that_does_not_come_again_is_told() -> None:
    """Of the last step too: what follows hangs on it."""
    first, second = started(Odd), started(Odd)
    acted(first, 10)
    state = saved(first)
    state["columns"][0]["ends"] = [False, False]
    with pytest.raises(Unrepeatable, match="in step 10 its episode ends"):
        second.load_state_dict(state)


# --- said at the start --------------------------------------------------------------------------------------

TOLD = {
    "NormalisedPendulum": "its reward is",
    "Paying": "its reward is",
    "Counting": "its episode ends, or does not",
    "SharedRandom": (
        "it draws from Python's global generator (random) and NumPy's global generator (np.random)"
    ),
    "OldGenerator": "gives another observation",  # it is seeded once, and goes on over episodes
    "Overwriting": None,
    "Lingering": None,
}


@pytest.mark.parametrize("name", TOLD)
def test_it_is_told_before_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "LONGEST", 60.0)  # however slow the machine is
    columns = make_envs(EnvSettings(f"support_odd_envs:{name}-v0", 2), 2)
    columns.reset([0, 1])
    before, shared = saved(columns), (random.getstate(), np.random.get_state()[1].tobytes())  # type: ignore[index]
    why = why_unrepeatable(columns)
    assert (why is None) == (TOLD[name] is None), why
    assert TOLD[name] is None or TOLD[name] in str(why)
    assert shared == (random.getstate(), np.random.get_state()[1].tobytes())  # type: ignore[index]
    assert repr(saved(columns)) == repr(before), "the run's own are left alone"


def test_what_cannot_be_rehearsed_is_left_to_the_run() -> None:
    columns = make_envs(EnvSettings("support_bad_env:BadEnv-v0", 2, kwargs={"step": "raises"}), 2)
    columns.reset([0, 1])
    assert why_unrepeatable(columns) is None
    assert STEPS > 4, "it did go wrong"


SMALL = ("algo=a2c", "network.hidden=[8]", "env.num_envs=2", "sampler.steps=8", "trainer.total_steps=96")


@pytest.mark.parametrize("allowed", [False, True])
def test_the_run_says_it(allowed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = ("env=support_odd_envs:Paying-v0", f"env.restart={str(allowed).lower()}")
    with caplog.at_level(logging.WARNING):
        trained(tmp_path, *SMALL, *words)
    assert (
        any("cannot be resumed" in m and "env.restart=true allows" in m for m in caplog.messages) != allowed
    )


def test_a_generator_of_numpys_old_kind_has_no_state_to_put_back(tmp_path: Path) -> None:
    """It trains; and whether it comes back is seen when it is played again."""
    _, summary = trained(tmp_path, *SMALL, "env=support_odd_envs:OldNpRandom-v0")
    assert summary["status"] == "finished"


# --- with a word of consent ---------------------------------------------------------------------------------

LINE = (
    "algo=a2c env=support_odd_envs:NormalisedPendulum-v0 tuned=none network.hidden=[8] env.num_envs=2 "
    "sampler.steps=8 trainer.eval_episodes=1 trainer.eval_every=null logger.progress=false "
    "trainer.total_steps=480 hydra.run.dir=r"
)
AGAIN = "resume=r env=support_odd_envs:NormalisedPendulum-v0 trainer.total_steps=960"


def test_a_run_goes_on_with_fresh_episodes_where_that_is_allowed(here: Path) -> None:  # noqa: F811
    assert pgrun(LINE).code == 0
    refused = pgrun(AGAIN)
    assert refused.code == 2
    assert "column 0 cannot be resumed: in step 1 its reward is" in refused.err
    assert "to go on with fresh episodes add env.restart=true" in refused.err
    answer = pgrun(f"{AGAIN} env.restart=true")
    assert answer.code == 0, answer
    at = json.loads((here / "r" / "summary.json").read_text())["restarts"]
    assert [restart["columns"] for restart in at] == [2]
    assert f"begun anew at step {at[0]['env_steps']}, where" in answer.out
    points = EventAccumulator(str(here / "r")).Reload().Scalars("episode/restarts")
    assert [(point.step, point.value) for point in points] == [(at[0]["env_steps"], 1.0)]
    state, _ = Checkpoints(here / "r" / "checkpoints").load()
    assert state["counters"]["restarts"] == [(at[0]["env_steps"], 2)]
    assert (state["run"]["envs"]["time"] < 481).all()


def test_restarted_twice_it_begins_from_other_seeds(tmp_path: Path) -> None:
    from pgrun.training.build import build_run

    run = build_run(settings(*SMALL, "env=Pendulum-v1"))
    starts = [run.envs.obs.copy()]
    for number in (1, 2):
        run.begin_episodes_anew(number)
        starts.append(run.envs.obs.copy())
    assert len(np.unique(np.concatenate(starts), axis=0)) == 6


def test_consent_changes_nothing_where_it_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = every(settings(*SMALL, "env=support_odd_envs:Overwriting-v0", "env.restart=true"), 1)
    whole = straight(tmp_path / "whole", own)
    killed_and_resumed(tmp_path / "resumed", own, 2, monkeypatch)
    assert told(whole) == told(tmp_path / "resumed")
    assert rows(whole) == rows(tmp_path / "resumed")
    assert "restarts" not in told(whole)


# --- generators that everything shares ----------------------------------------------------------------------


def test_shared_generators_are_seeded(tmp_path: Path) -> None:
    """The same command gives the same run, evaluated or not; another seed another one."""
    collected = []
    for k, words in enumerate(([], [], ["trainer.eval_every=16"], ["seed=1"])):
        (tmp_path / str(k)).mkdir()
        random.seed(k)
        np.random.seed(k)
        seed = int(words == ["seed=1"])
        changes = {"trainer.eval_every": 16} if words and not seed else {}
        run, _ = trained(
            tmp_path / str(k), *SMALL, "env=support_odd_envs:SharedRandom-v0", seed=seed, **changes
        )
        collected.append(run.policy.theta.numpy().tobytes())
    assert collected[0] == collected[1] == collected[2] != collected[3]
