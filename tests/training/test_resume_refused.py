"""What is refused, and what is welcome, when a run is resumed by its folder."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from pgrun.training.identity import MAY_CHANGE, format_resume_command
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

BRIEF = "algo=ppo tuned=none network.hidden=[8] sampler.steps=8 logger.progress=false trainer.eval_episodes=1"
LINE = f"{BRIEF} env=CartPole-v1 trainer.eval_every=null"


def test_a_log_that_was_cut_is_refused(finished: Path) -> None:
    """Rows that are gone cannot be made again, and a file filled up with zeros is no log."""
    summary = (finished / "r" / "summary.json").read_bytes()
    (finished / "r" / "metrics.csv").write_text("env_steps\n")
    answer = pgrun("resume=r trainer.total_steps=256")
    assert (answer.code, "metrics.csv: has 10 bytes and had" in answer.err) == (2, True)
    (finished / "r" / "metrics.csv").unlink()
    answer = pgrun("resume=r trainer.total_steps=256")
    assert (answer.code, "cannot be read: No such file" in answer.err) == (2, True)
    assert (finished / "r" / "summary.json").read_bytes() == summary


def test_a_copy_by_hard_links_keeps_what_it_has(finished: Path) -> None:
    shutil.copytree(finished / "r", finished / "copy", copy_function=os.link)
    before = {path: path.read_bytes() for path in (finished / "copy").rglob("*") if path.is_file()}
    assert pgrun("resume=r trainer.total_steps=256").code == 0
    assert before == {path: path.read_bytes() for path in (finished / "copy").rglob("*") if path.is_file()}


REFUSED = {
    "resume=nowhere": "no such directory",
    "resume=r": "is finished, with 189 environment steps: to extend it add trainer.total_steps=378",
    "resume=r optimizer.lr=1": "optimizer.lr=0.0003, not 1",
    "resume=r algo=a2c": "algo=ppo, not a2c",
    "resume=r env=Acrobot-v1": "env=CartPole-v1, not Acrobot-v1",
    "resume=r trainer.total_steps=0": "trainer.total_steps=0: must be ≥ 1",
    "-m resume=r seed=0,1": "type pgrun without -m",
    "resume=.": "nothing to go on from: no checkpoint",
}


@pytest.fixture
def finished(here: Path) -> Path:  # noqa: F811
    assert pgrun(f"{LINE} trainer.total_steps=128 hydra.run.dir=r").code == 0
    return here


def test_what_cannot_be_resumed_is_refused(finished: Path) -> None:
    before = {path: path.read_bytes() for path in (finished / "r").rglob("*") if path.is_file()}
    for line, sentence in REFUSED.items():
        answer = pgrun(line)
        assert (answer.code, sentence in answer.err) == (2, True), answer
        assert "Traceback" not in answer.err
    assert before == {path: path.read_bytes() for path in (finished / "r").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("zzz=1", "zzz: no such setting"),
        ("optimizer.lrr=1", "nearest: optimizer.lr"),
        ("learning_rate=1e-3", "(Stable-Baselines3, CleanRL): type optimizer.lr=1e-3"),
    ],
)
def test_words_that_no_run_has_are_answered_as_in_a_new_command(word: str, said: str, finished: Path) -> None:
    answer = pgrun(f"resume=r {word} trainer.total_steps=400")
    assert (answer.code, said in answer.err, "was started with" in answer.err) == (2, True, False), answer


def test_words_that_agree_are_welcome(finished: Path) -> None:
    assert pgrun("resume=r algo=ppo env=CartPole-v1 seed=0 trainer.total_steps=192").code == 0


def test_the_command_that_is_told_can_be_typed(finished: Path) -> None:
    """Whatever the folder is called, and with the user's code, which is not taken from the folder."""
    settings = {"env": {"id": "my_mod:Line-v0", "wrappers": []}, "modules": ["a", "b"]}
    told = format_resume_command(settings, Path("my runs/x"))
    assert shlex.split(told) == ["pgrun", "resume=my runs/x", "env=my_mod:Line-v0", "modules=[a,b]"]
    (finished / "r").rename(finished / "my runs, (1)")
    plain = {"env": {"id": "CartPole-v1"}, "modules": []}
    told = format_resume_command(plain, finished / "my runs, (1)")
    assert pgrun(f"{told.removeprefix('pgrun ')} trainer.total_steps=192").code == 0


ANOTHER = {"trainer.total_steps": 192, "cores": 1, "logger.also": "[]", "logger.project": "other"}


def test_every_setting_that_may_change_can(finished: Path) -> None:
    changed = {key: ANOTHER.get(key, 7 if key.startswith("trainer.") else "true") for key in MAY_CHANGE}
    answer = pgrun(" ".join(["resume=r", *(f"{key}={value}" for key, value in changed.items())]))
    assert answer.code == 0, answer.err


def test_code_of_the_users_is_named_again(here: Path) -> None:  # noqa: F811
    line = f"{BRIEF} env=my_mod:Line-v0 trainer.total_steps=64 hydra.run.dir=r"
    assert pgrun(line).code == 0
    answer = pgrun("resume=r trainer.total_steps=128")
    assert (answer.code, "add env=my_mod:Line-v0" in answer.err) == (2, True)
    assert pgrun("resume=r env=my_mod:Line-v0 trainer.total_steps=128").code == 0


def test_a_run_under_way_is_left_alone(finished: Path) -> None:
    import fcntl

    with (finished / "r" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = pgrun("resume=r trainer.total_steps=256")
    assert (answer.code, "another process is training there" in answer.err) == (2, True)


def test_what_it_would_go_on_with_is_shown_and_nothing_done(finished: Path) -> None:
    """``--cfg`` looks: of a finished run, and of one that is to be longer."""

    def look() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (finished / "r").rglob("*") if path.is_file()}

    before = look()
    shown = pgrun("resume=r --cfg job trainer.total_steps=4096")
    assert (shown.code, shown.err) == (0, "")
    assert yaml.safe_load(shown.out)["trainer"]["total_steps"] == 4096
    part = pgrun("resume=r --cfg job --package trainer")
    assert yaml.safe_load(part.out) == {**yaml.safe_load(shown.out)["trainer"], "total_steps": 128}
    for words, said in {
        "--cfg hydra": "type --cfg job",
        "--info all": "type --cfg job",
        "--cfg job gamma=0.5": "was started with gamma=0.99, not 0.5",
        "--cfg job --package nowhere": "no such part of the configuration",
    }.items():
        answer = pgrun(f"resume=r {words}")
        assert (answer.code, said in answer.err) == (2, True), answer
    assert look() == before


def test_a_run_directory_can_be_moved(finished: Path) -> None:
    shutil.move(finished / "r", finished / "elsewhere")
    assert pgrun("resume=elsewhere trainer.total_steps=192").code == 0
