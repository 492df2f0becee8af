"""Folders that hold something else, or have names that take quotes: nothing is lost, and what is told can be
typed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_compare import compare

LINE = (
    "env=pgrun/OneState-v0 env.num_envs=2 env.max_episode_steps=20 sampler.steps=16 algo.epochs=1 "
    "algo.minibatches=1 trainer.total_steps=60 trainer.eval_episodes=1 logger.progress=false"
)


def test_a_log_of_another_tool_stays(here: Path) -> None:  # noqa: F811
    log = here / "logs" / "events.out.tfevents.1700000000.host.1.0"
    log.parent.mkdir()
    log.write_text("precious")
    answer = pgrun(f"{LINE} hydra.run.dir=logs")
    assert (answer.code, "holds a log for TensorBoard that is not of this run" in answer.err) == (2, True)
    assert [path.name for path in log.parent.iterdir()] == [log.name]
    assert log.read_text() == "precious"


def test_a_run_and_a_sweep_have_folders_of_their_own(here: Path) -> None:  # noqa: F811
    assert pgrun(f"-m {LINE} seed=0,1 hydra.sweep.dir=s").code == 0
    answer = pgrun(f"{LINE} hydra.run.dir=s")
    assert (answer.code, "s: is the folder of a sweep: choose another hydra.run.dir" in answer.err) == (
        2,
        True,
    )
    assert pgrun(f"{LINE} hydra.run.dir=r").code == 0
    answer = pgrun(f"-m {LINE} seed=0,1 hydra.sweep.dir=r")
    assert (answer.code, "r: is the folder of a run: choose another hydra.sweep.dir" in answer.err) == (
        2,
        True,
    )


@pytest.mark.parametrize("name", ["学习", "it's", "a b, (1)", "jürgen"])
def test_what_is_told_of_a_folder_can_be_typed(name: str, here: Path) -> None:  # noqa: F811
    (here / name).mkdir()
    word = shlex.quote(f'hydra.run.dir="{name}/r"')
    trained = pgrun(f"{LINE} {word}")
    assert trained.code == 0
    for hint in re.findall(r"tensorboard --logdir .*", trained.out):
        assert shlex.split(hint)[2] in (name, f"{name}/r")
    told = pgrun(f"{shlex.quote(f'resume={name}/r')}")
    assert "is finished" in told.err, told.err
    assert pgrun(f"{shlex.quote(f'resume={name}/r')} trainer.total_steps=100").code == 0


SEARCH = "hydra/sweeper=optuna 'optimizer.lr=tag(log,interval(1e-4,1e-1))' hydra.sweeper.n_trials=2"


@pytest.mark.parametrize(("first", "then"), [("seed=0", "seed=1"), ("seed=0", SEARCH), (SEARCH, "gamma=0.1")])
def test_a_sweep_s_folder_is_its_own(first: str, then: str, here: Path) -> None:  # noqa: F811
    """A search in it would take its results for those of trials, and a second sweep its place."""
    assert pgrun(f"-m {LINE} {first} hydra.sweep.dir=s").code == 0
    before = {path: path.read_bytes() for path in (here / "s").rglob("*") if path.is_file()}
    answer = pgrun(f"-m {LINE} {then} hydra.sweep.dir=s")
    assert answer.code == 2
    assert "holds another sweep: choose another" in answer.err or "holds a run already" in answer.err
    assert {path: path.read_bytes() for path in (here / "s").rglob("*") if path.is_file()} == before


def test_a_tilde_is_no_folder_s_name(here: Path) -> None:  # noqa: F811
    answer = pgrun("'hydra.run.dir=~/zz'")
    (word,) = re.findall(r"two kinds of quotes: (\S+)", answer.err)
    assert shlex.split(word) == [f"hydra.run.dir={Path.home()}/zz"] or str(Path.home()) in word
    assert "~" not in word


def test_a_sweep_of_one_worker(here: Path) -> None:  # noqa: F811
    """joblib runs its jobs in this process then; and the sweep goes on by its folder."""
    line = f"-m hydra/launcher=parallel hydra.launcher.n_jobs=1 {LINE} seed=0,1 hydra.sweep.dir=s"
    answer = pgrun(line)
    assert answer.code == 0, answer.err
    again = pgrun("resume=s")
    assert again.code == 0, again.err


def test_scores_are_not_pooled_in_one_cell(here: Path) -> None:  # noqa: F811
    assert pgrun(f"-m {LINE} seed=0,1 gamma=0.5,0.9 hydra.sweep.dir=s").code == 0
    answer = compare("s", "--by", "algo", "--export", "x.csv")
    assert (answer.code, "has 2 runs of seed 0" in answer.err) == (2, True), answer
    assert not (here / "x.csv").exists()
    assert compare("s", "--export", "x.csv").code == 0
