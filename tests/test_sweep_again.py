"""A sweep that was stopped or killed anywhere goes on with ``resume=auto`` and is the sweep that never stopped, bit for bit."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from fixtures_cli import here  # noqa: F401
from support_cli import pgrun
from support_faults import EPISODE, LINE, MODULE, Sweep, gone, results, said, steps, told, until

SEEDS = range(3)
COMMAND = f"-m seed=0,1,2 {LINE}"


@pytest.fixture
def faulty(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    (here.parent / "faulty.py").write_text(MODULE)
    sys.modules.pop("faulty", None)
    monkeypatch.setenv("PYTHONPATH", str(here.parent))
    return here


@pytest.fixture
def whole(faulty: Path) -> list[tuple]:
    """What the sweep leaves that is never stopped."""
    assert pgrun(COMMAND.replace("dir=s", "dir=whole")).code == 0
    for path in faulty.glob("steps-*"):
        path.rename(path.with_name(f"whole-{path.name}"))
    return [told(faulty / "whole" / str(n)) for n in SEEDS]


def whole_steps(here: Path, who: int) -> int:  # noqa: F811
    return (here / f"whole-steps-{who}").stat().st_size


def begun(faulty: Path, extra: str = "") -> Sweep:
    """A sweep in the middle of its second job, after a checkpoint."""
    (faulty / "fault").write_text("1 slow")
    sweep = Sweep(f"{COMMAND} {extra}")
    sweep.wait_for(lambda: sweep.saved(faulty / "s" / "1") >= 32)
    return sweep


def check_rest(faulty: Path, whole: list[tuple]) -> None:
    """With ``resume=auto``: the same results, and of the steps only those that remained."""
    (faulty / "fault").unlink()
    saved = Sweep.saved(None, faulty / "s" / "1")  # type: ignore[arg-type]
    before = [steps(faulty, n) for n in SEEDS]
    answer = pgrun(f"{COMMAND} resume=auto")
    assert answer.code == 0, answer
    assert [told(faulty / "s" / str(n)) for n in SEEDS] == whole
    executed = [steps(faulty, n) - before[n] for n in SEEDS]
    assert executed[0] == 0
    replayed = 2 * EPISODE  # at most: the two environments are brought back to where they were
    assert 0 < executed[1] <= whole_steps(faulty, 1) - saved + replayed
    assert executed[2] == whole_steps(faulty, 2)


def test_after_kill_9_of_all_processes(faulty: Path, whole: list[tuple]) -> None:
    sweep = begun(faulty)
    sweep.kill(signal.SIGKILL, group=True)
    assert sweep.answer().code == -signal.SIGKILL
    check_rest(faulty, whole)


STOPS = [
    (signal.SIGINT, True, 130),  # Ctrl-C in a terminal reaches every process of the group
    pytest.param(signal.SIGTERM, False, 143, marks=pytest.mark.slow),
    pytest.param(signal.SIGTERM, True, 143, marks=pytest.mark.slow),
    pytest.param(signal.SIGUSR1, False, 75, marks=pytest.mark.slow),
]
LAUNCHERS = [
    "",
    pytest.param("hydra/launcher=parallel hydra.launcher.n_jobs=2", marks=pytest.mark.slow),
    pytest.param("hydra/launcher=local", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("number", "group", "code"), STOPS)
def test_after_a_signal(number: int, group: bool, code: int, faulty: Path, whole: list[tuple]) -> None:
    sweep = begun(faulty)
    reached = sweep.saved(faulty / "s" / "1")
    sweep.kill(number, group)
    answer = sweep.answer()
    assert answer.code == code, answer
    found = results(faulty / "s")
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    assert [r["status"] for r in found] == ["finished", "interrupted"]
    assert found[1]["error"] == f"stopped by {name}"
    assert (
        reached <= sweep.saved(faulty / "s" / "1") <= reached + 3 * 16
    )  # an update has 16 steps; the test looks late
    assert "final evaluation" in answer.out
    assert said(answer)[1:] == [
        "pgrun: not run: job 2",
        "pgrun: 2 of 3 jobs did not finish: 1 interrupted, 1 not run; the same command goes on with them with "
        "resume=auto hydra.sweep.dir=s",
        "pgrun: interrupted",
    ]
    kept = json.loads((faulty / "s" / "sweep.json").read_text())["jobs"]
    assert [job["status"] for job in kept] == ["finished", "interrupted", "not run"]
    check_rest(faulty, whole)


def test_a_second_signal_ends_it_at_once(faulty: Path) -> None:
    (faulty / "fault").write_text("1 stuck")
    sweep = Sweep(COMMAND)
    sweep.wait_for((faulty / "pid").exists)
    sweep.kill(signal.SIGTERM, group=False)
    sweep.wait_for((faulty / "s" / ".stop").exists)
    assert sweep.process.poll() is None
    sweep.kill(signal.SIGTERM, group=False)
    assert sweep.process.wait(timeout=5) == 143
    assert until(lambda: gone(int((faulty / "pid").read_text())))
