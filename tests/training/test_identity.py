"""A checkpoint is of one run: of its settings, its environment's spaces, and the
versions it was made with.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pgrun.storage import versions
from pgrun.storage.checkpoint import Checkpoints
from pgrun.storage.versions import changed_versions, installed_versions
from pgrun.training.identity import describe_space, hash_settings
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

LINE = (
    "algo=ppo tuned=none env=CartPole-v1 network.hidden=[8] sampler.steps=8 env.num_envs=2 "
    "trainer.total_steps=32 trainer.eval_episodes=1 logger.progress=false"
)
MORE = "resume=r trainer.total_steps=64"


@pytest.fixture
def finished(here: Path) -> Path:  # noqa: F811
    assert pgrun(f"{LINE} hydra.run.dir=r").code == 0
    return here / "r"


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    checkpoints = Checkpoints(run / "checkpoints")
    state, _ = checkpoints.load()
    change(state)
    checkpoints.save(state["counters"]["env_steps"], state)


@pytest.mark.parametrize(
    ("words", "said"),
    [(f"{LINE} seed=1", "seed=0, not 1"), (LINE.replace("[8]", "[9]"), "network.hidden=[8], not [9]")],
    ids=["seed", "network"],
)
def test_the_checkpoints_of_another_run_are_refused(words: str, said: str, finished: Path) -> None:
    """As ``resume=auto`` refuses them, and nothing in the folder is touched."""
    assert pgrun(f"{words} hydra.run.dir=other").code == 0
    shutil.rmtree(finished / "checkpoints")
    shutil.copytree(finished.parent / "other" / "checkpoints", finished / "checkpoints")
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    refused = pgrun(MORE)
    assert (refused.code, said in refused.err, "is of another run" in refused.err) == (2, True, True), refused
    (finished / "summary.json").unlink()
    again = pgrun(f"{LINE} hydra.run.dir=r resume=auto")
    assert (again.code, "its checkpoint is of another configuration" in again.err) == (2, True), again
    (finished / "summary.json").write_bytes(before[finished / "summary.json"])
    assert pgrun(f"{MORE}").code == 2
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    own = pgrun("resume=other trainer.total_steps=64")
    assert (own.code, own.err) == (0, "")


def test_a_checkpoint_is_of_the_settings_that_it_was_saved_with(finished: Path) -> None:
    edit(finished, lambda state: state["settings"].update(gamma=0.5))
    refused = pgrun(MORE)
    assert (refused.code, "are not those that it was saved with" in refused.err) == (2, True), refused
    edit(finished, lambda state: state.pop("identity"))
    assert pgrun(MORE).code == 2


def test_without_a_record_of_the_run_that_is_said(finished: Path) -> None:
    (finished / "job.json").unlink()
    told = pgrun(MORE)
    assert (told.code, "has no job.json that says which run it is" in told.err) == (0, True), told


def test_an_extended_run_goes_on_again(finished: Path) -> None:
    """What may change is no part of what a run is."""
    for steps in (64, 96):
        told = pgrun(f"resume=r trainer.total_steps={steps} trainer.checkpoint_every=16")
        assert (told.code, told.err) == (0, ""), told


def test_other_versions_are_said_in_one_line(finished: Path) -> None:
    assert {"pgrun", "python", "torch", "numpy", "gymnasium", "processor"} <= set(installed_versions())
    assert json.loads((finished / "job.json").read_text())["versions"] == installed_versions()
    edit(finished, lambda state: state["identity"]["versions"].update(torch="1.0\n\x1b[2J"))
    edit(finished, lambda state: state["identity"]["versions"].update(processor="another"))
    for line in (f"{LINE} hydra.run.dir=r resume=auto", MORE):
        (finished / "summary.json").unlink(missing_ok=True)
        told = pgrun(line)
        assert told.code == 0, told
        (said,) = told.err.splitlines()
        torch, processor = (installed_versions()[name] for name in ("torch", "processor"))
        assert (
            f"was saved with torch 1.0\\n\\x1b[2J (now {torch}), processor another (now {processor}): "
            in said
        )


def test_what_is_no_longer_installed_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"python": "3.12.1", "pgrun": "1", "torch": "2"}
    monkeypatch.setattr(versions, "installed_versions", lambda: now)
    assert changed_versions(now) == ""
    assert changed_versions({**now, "numba": "0.6"}) == "numba 0.6 (now none)"
    assert changed_versions({}) == "pgrun none (now 1), python none (now 3.12.1), torch none (now 2)"
    assert changed_versions({**now, "hydra-core": "1.2"}) == ""


def other_line(**spaces: gym.Space) -> type[gym.Env]:
    """The environment of ``my_mod``, after its author has changed it."""
    import my_mod

    return type("Changed", (my_mod.Line,), spaces)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"observation_space": gym.spaces.Box(-1, 1, (2,), np.float64)},
            (
                "its observations are Box [2] float64 from -1.0 to 1.0, and were Box [2] float32 from -1.0 "
                "to 1.0"
            ),
        ),
        (
            {"observation_space": gym.spaces.MultiBinary(2)},
            "its observations are MultiBinary [2], and were Box [2] float32",
        ),
        (
            {"action_space": gym.spaces.Discrete(2, start=1)},
            "its actions are Discrete 2 from 1, and were Discrete 2",
        ),
    ],
)
def test_an_environment_that_has_changed_is_named(
    change: dict[str, gym.Space],
    said: str,
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = LINE.replace("CartPole-v1", "my_mod:Line-v0")
    assert pgrun(f"{line} hydra.run.dir=r").code == 0
    monkeypatch.setattr(gym.registry["Line-v0"], "entry_point", other_line(**change))
    refused = pgrun(f"{MORE} env=my_mod:Line-v0")
    assert (refused.code, said in refused.err) == (2, True), refused
    assert "env=my_mod:Line-v0" in refused.err


def test_spaces_in_words() -> None:
    low = np.arange(4, dtype=np.float32)
    box = gym.spaces.Box(low, low + 1)
    assert describe_space(box) == "Box [4] float32 from [0.0, 1.0, 2.0, 3.0] to [1.0, 2.0, 3.0, 4.0]"
    parts = gym.spaces.Dict({"a": gym.spaces.Discrete(3), "b": gym.spaces.MultiDiscrete([2, 5])})
    assert describe_space(parts) == "{a: Discrete 3 from 0; b: MultiDiscrete [2, 5] from 0}"
    wide = [gym.spaces.Box(np.arange(100.0) - k, np.arange(100.0) + 1) for k in (0, 1)]
    assert len({describe_space(space) for space in wide}) == 2
    assert len(describe_space(wide[0])) < 100


def test_equal_numbers_are_one_setting() -> None:
    assert hash_settings({"gamma": 1, "a": {"b": 0.5}}) == hash_settings({"a": {"b": 0.5}, "gamma": 1.0})
    assert hash_settings({"gamma": 1}) != hash_settings({"gamma": 1.5})
    assert hash_settings({"seed": 10**400}) != hash_settings({"seed": 10**400 + 1})
    assert hash_settings({"trainer": {"total_steps": 1}}) == hash_settings({"trainer": {"total_steps": 2}})


def drop(state: dict[str, Any], path: str) -> None:
    *way, name = path.split(".")
    for key in way:
        state = state[key]
    del state[name]


def test_what_another_pgrun_did_not_save_is_refused_in_one_paragraph(finished: Path) -> None:
    """Whatever is missing: of the checkpoint itself, of the run's state, of an environment's."""
    checkpoints = Checkpoints(finished / "checkpoints")
    whole, _ = checkpoints.load()
    present = installed_versions()["pgrun"]
    for path, writer, named in (
        ("identity.backend", "0.0.9", "pgrun 0.0.9"),
        ("row", None, "an earlier pgrun"),
        ("settings.seed", "0.0.9", "pgrun 0.0.9"),
        ("settings.tuned", "0.0.9", "pgrun 0.0.9"),
        ("run.envs", present, f"an earlier state of pgrun {present}"),
        ("run.envs.obs", "\x1b[2J", "pgrun \\x1b[2J"),
        ("counters.next_row", "0.0.9", "pgrun 0.0.9"),
    ):
        state = copy.deepcopy(whole)
        state["identity"]["versions"]["pgrun"] = writer
        drop(state, path)
        checkpoints.save(whole["counters"]["env_steps"], state)
        told = pgrun(MORE)
        assert told.code == 2, told
        assert told.err.splitlines()[-1].endswith(
            f"{path.rpartition('.')[2]} is not in it: it was saved by {named}, which keeps other things of a "
            "run: go on with the pgrun that saved it, or start a new run"
        )
