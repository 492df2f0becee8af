"""A run directory is one process's, from before Hydra writes there; and it is shown
as the user would type it.
"""

from __future__ import annotations

import fcntl
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgrun.command.app import PGRUN
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.runs.job_status import write_settings
from pgrun.runs.outcome import run_and_record
from pgrun.storage import folder_lock
from pgrun.storage.checkpoint import Checkpoints
from pgrun.storage.folder_lock import Occupied, run_lock
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, in_fork, pgrun

BRIEF = f"{QUICK} network.hidden=[4] env.num_envs=2"


@contextmanager
def somebody_else(folder: Path) -> Iterator[None]:
    """As another process would: with a handle of its own."""
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_the_second_of_two_runs_leaves_everything_as_it_is(here: Path) -> None:  # noqa: F811
    with somebody_else(here / "r"):
        answer = pgrun(f"{BRIEF} hydra.run.dir=r")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("pgrun: r: another process is training there: wait for its end")
        assert [path.name for path in (here / "r").iterdir()] == [".lock"]
    assert pgrun(f"{BRIEF} hydra.run.dir=r").code == 0


def test_a_run_that_is_over_when_the_second_may_begin(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Between the second one's check and its turn the first one has come to its end."""
    first = '{"status": "finished"}'

    @contextmanager
    def at_last(folder: Path) -> Iterator[None]:
        (folder / "summary.json").write_text(first)
        yield

    monkeypatch.setattr(folder_lock, "run_lock", at_last)
    answer = pgrun(f"{BRIEF} hydra.run.dir=r")
    assert (answer.code, "r: holds a run already" in answer.err) == (2, True)
    assert (here / "r" / "summary.json").read_text() == first
    assert not (here / "r" / ".hydra").exists()


def test_a_job_of_a_sweep_leaves_another_process_s_run_alone(tmp_path: Path) -> None:
    def never(*_given: object) -> float:
        raise AssertionError

    with somebody_else(tmp_path / "0"):
        value = run_and_record({"seed": 1}, tmp_path / "0", PGRUN, never, in_sweep=True)
        assert value != value, "NaN"
        assert [path.name for path in (tmp_path / "0").iterdir()] == [".lock"]


def test_within_itself_a_process_is_alone_as_often_as_it_likes(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        with run_lock(tmp_path / "." / ".." / tmp_path.name):
            pass
        with pytest.raises(BlockingIOError), (tmp_path / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with somebody_else(tmp_path), pytest.raises(Occupied), run_lock(tmp_path):
        pass


def test_a_run_is_read_by_who_may_go_on_with_it(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not before: what the other process adds to it meanwhile would be lost."""
    assert pgrun(f"{BRIEF} hydra.run.dir=r").code == 0
    monkeypatch.setattr(Checkpoints, "load", lambda _: pytest.fail("read while another process has it"))
    with somebody_else(here / "r"):
        answer = pgrun("resume=r trainer.total_steps=400")
    assert (answer.code, "another process is training there" in answer.err) == (2, True), answer


def test_a_refused_resume_leaves_what_the_folder_says(here: Path) -> None:  # noqa: F811
    assert pgrun(f"{BRIEF} hydra.run.dir=r").code == 0
    said = (here / "r" / "job.json").read_bytes()
    rows = (here / "r" / "metrics.csv").read_bytes()
    (here / "r" / "metrics.csv").write_bytes(rows[:10])
    answer = pgrun("resume=r trainer.total_steps=400")
    assert (answer.code, "put it back" in answer.err) == (2, True), answer
    assert (here / "r" / "job.json").read_bytes() == said


@pytest.mark.parametrize(("words", "shown"), [("", "r"), ("seeds=[0,1]", "r/1")])
def test_paths_are_those_of_where_the_user_stands(words: str, shown: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(f"{BRIEF} hydra.job.chdir=true hydra.run.dir=r {words}")
    assert answer.code == 0
    where = f"  run         {shown}\n  look at it  tensorboard --logdir {shown}\n"
    assert (", in r\n" if words else where) in answer.out
    assert json.loads((here / shown / "summary.json").read_text())["status"] == "finished"


def test_the_same_of_a_sweep_s_jobs(here: Path) -> None:  # noqa: F811
    """They say it in processes of their own, to whatever the sweep's process writes
    to when their server starts.
    """
    answer = in_fork(f"-m {BRIEF} hydra.job.chdir=true hydra.sweep.dir=s seed=0")
    assert answer.code == 0
    assert "  run         s/0\n" in answer.out


def test_resume_auto_of_one_run_speaks_of_that_run(here: Path) -> None:  # noqa: F811
    write_settings(made(here / "r"), {"seed": 1})
    answer = pgrun(f"{BRIEF} hydra.run.dir=r resume=auto")
    assert answer.code == 2
    assert answer.err.startswith("pgrun: r: holds a run with ")
    assert answer.err.endswith(": type the settings that it has, or choose another folder\n")


def test_one_run_takes_no_job_out_of_a_sweep(here: Path) -> None:  # noqa: F811
    """Not even one with the same settings."""
    (job,) = compose_jobs(read_command(shlex.split(f"{BRIEF} hydra.run.dir=s"))).composed
    for n in "01":
        write_settings(made(here / "s" / n), {**job.settings, "seed": int(n)})
    answer = pgrun(f"{BRIEF} hydra.run.dir=s resume=auto")
    assert answer.code == 2
    assert (
        "s: holds 2 jobs, of a sweep: go on with them by pgrun -m … resume=auto hydra.sweep.dir=s"
        in answer.err
    )
    assert sorted(path.name for path in (here / "s").iterdir()) == ["0", "1"]
