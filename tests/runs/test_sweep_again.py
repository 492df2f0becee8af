"""A sweep that was stopped or killed anywhere goes on with ``resume=auto`` and is the sweep that never
stopped, bit for bit.
"""

from __future__ import annotations

import fcntl
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support_faults import EPISODE, LINE, MODULE, Sweep, gone, results, said, steps, told, until

from pgrun.command.folder_names import find_job_folder
from pgrun.tools.study.cli import main as study
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import answer, pgrun

SEEDS = range(3)
COMMAND = f"-m seed=0,1,2 {LINE}"


@pytest.fixture
def faulty(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    (here.parent / "faulty.py").write_text(MODULE)
    sys.modules.pop("faulty", None)
    monkeypatch.setenv("PYTHONPATH", str(here.parent))
    return here


@dataclass(frozen=True)
class Whole:
    """What the sweep leaves that is never stopped, and its steps, by job."""

    told: list[tuple]
    steps: list[int]


NEVER_STOPPED: list[Whole] = []


@pytest.fixture
def whole(faulty: Path) -> Whole:
    """Run once."""
    if not NEVER_STOPPED:
        assert pgrun(COMMAND.replace("dir=s", "dir=whole")).code == 0
        outcome = [told(find_job_folder(faulty / "whole", n)) for n in SEEDS]
        NEVER_STOPPED.append(Whole(outcome, [steps(faulty, n) for n in SEEDS]))
        for path in faulty.glob("steps-*"):
            path.unlink()
    return NEVER_STOPPED[0]


def begun(faulty: Path, extra: str = "") -> Sweep:
    """A sweep in the middle of its second job, after a checkpoint."""
    (faulty / "fault").write_text("1 slow")
    sweep = Sweep(f"{COMMAND} {extra}")
    sweep.wait_for(lambda: sweep.saved(find_job_folder(faulty / "s", 1)) >= 32)
    return sweep


def check_rest(faulty: Path, whole: Whole) -> None:
    """With ``resume=auto``: the same results, and of the steps only those that remained."""
    (faulty / "fault").unlink()
    saved = Sweep.saved(None, find_job_folder(faulty / "s", 1))  # type: ignore[arg-type]
    before = [steps(faulty, n) for n in SEEDS]
    answer = pgrun(f"{COMMAND} resume=auto")
    assert answer.code == 0, answer
    assert [told(find_job_folder(faulty / "s", n)) for n in SEEDS] == whole.told
    executed = [steps(faulty, n) - before[n] for n in SEEDS]
    assert executed[0] == 0
    replayed = 2 * EPISODE  # at most: the two environments are brought back to where they were
    assert 0 < executed[1] <= whole.steps[1] - saved + replayed
    assert executed[2] == whole.steps[2]


def test_after_kill_9_of_all_processes(faulty: Path, whole: Whole) -> None:
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


@pytest.mark.parametrize(("number", "group", "code"), STOPS)
def test_after_a_signal(number: int, group: bool, code: int, faulty: Path, whole: Whole) -> None:
    sweep = begun(faulty)
    reached = sweep.saved(find_job_folder(faulty / "s", 1))
    sweep.kill(number, group)
    answer = sweep.answer()
    assert answer.code == code, answer
    actual = results(faulty / "s")
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    assert [r["status"] for r in actual] == ["finished", "interrupted"]
    assert actual[1]["error"] == f"stopped by {name}"
    assert (
        reached <= sweep.saved(find_job_folder(faulty / "s", 1)) <= reached + 3 * 16
    )  # an update has 16 steps; the test looks late
    assert "final evaluation" in answer.out
    assert said(answer)[2:] == [  # after what acknowledges the signal, and the job that it met
        "pgrun: not run: job 2",
        "pgrun: 2 of 3 jobs did not finish: 1 interrupted, 1 not run; the same command goes on with them "
        "with resume=auto hydra.sweep.dir=s",
        "pgrun: interrupted",
    ]
    kept = json.loads((faulty / "s" / "sweep.json").read_text())["jobs"]
    assert [job["status"] for job in kept] == ["finished", "interrupted", "not run"]
    check_rest(faulty, whole)


@pytest.mark.slow
@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("launcher", ["parallel hydra.launcher.n_jobs=2", "local"])
def test_after_a_signal_on_other_launchers(launcher: str, group: bool, faulty: Path, whole: Whole) -> None:
    """Jobs in several processes at once: each that runs is saved, the others are not lost."""
    # each takes 13 s, so that on a busy machine, too, the first is not over when the second begins
    (faulty / "fault").write_text("0 crawl\n1 crawl\n2 crawl")
    sweep = Sweep(f"{COMMAND} hydra/launcher={launcher}")
    sweep.wait_for(lambda: all(sweep.saved(find_job_folder(faulty / "s", n)) >= 16 for n in (0, 1)))
    sweep.kill(signal.SIGTERM if not group else signal.SIGINT, group)
    actual = sweep.answer()
    assert actual.code == (130 if group else 143), actual
    status = [job["status"] for job in json.loads((faulty / "s" / "sweep.json").read_text())["jobs"]]
    assert status[:2] == ["interrupted"] * 2, actual
    assert status[2] in ("interrupted", "not run")
    (faulty / "fault").unlink()
    assert pgrun(f"{COMMAND} resume=auto").code == 0
    assert [told(find_job_folder(faulty / "s", n)) for n in SEEDS] == whole.told


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


def hashes(faulty: Path) -> dict[int, str]:
    return {r["seed"]: r["params_sha256"] for r in results(faulty / "s") if r["status"] == "finished"}


def test_a_sweep_grows(faulty: Path) -> None:
    """Jobs get other numbers, and are the same by their configuration and seed: none
    of them is executed again.
    """
    line = "-m gamma=0.9,0.99 " + LINE.replace("'${seed}'", "0")
    assert pgrun(f"{line} seed=1").code == 0
    first = [told(find_job_folder(faulty / "s", n)) for n in (0, 1)]
    before = steps(faulty, 0)
    answer = pgrun(f"{line} seed=0,1 resume=auto")
    assert answer.code == 0
    assert "resume=auto: 2 not run, 2 finished" in answer.out
    assert [told(find_job_folder(faulty / "s", n)) for n in (1, 3)] == first
    assert before < steps(faulty, 0) <= 2 * before + 2 * EPISODE
    settings = [
        json.loads((find_job_folder(faulty / "s", n) / "job.json").read_text())["settings"] for n in range(4)
    ]
    assert [(s["gamma"], s["seed"]) for s in settings] == [(0.9, 0), (0.9, 1), (0.99, 0), (0.99, 1)]
    assert pgrun(f"{line} seed=0,1 resume=auto").code == 0
    assert steps(faulty, 0) <= 2 * before + 2 * EPISODE  # everything was there


def test_failed_jobs_are_tried_again_on_request(faulty: Path) -> None:
    (faulty / "fault").write_text("1 raise")
    assert pgrun(COMMAND).code == 1
    (faulty / "fault").unlink()
    before = steps(faulty, 1)
    answer = pgrun(f"{COMMAND} resume=auto")
    assert (answer.code, steps(faulty, 1)) == (1, before)
    assert said(answer)[-1].endswith(
        "1 failed; the same command tries the 1 failed again with resume=retry hydra.sweep.dir=s"
    )
    assert pgrun(f"{COMMAND} resume=retry").code == 0
    assert sorted(hashes(faulty)) == [0, 1, 2]


@pytest.fixture
def done(faulty: Path) -> Path:
    assert pgrun(f"-m seed=0 {LINE}").code == 0
    return faulty


REFUSED = {
    "-m seed=0 {line} gamma=0.5 resume=auto": "s/0: holds a job with gamma=0.99, not 0.5: type the settings",
    "-m seed=7 {line} resume=auto": "s/0: holds a job with seed=0, not 7; env.kwargs.who=0, not 7: type the",
    "-m seed=0 {line} resume=no/such/run": "type pgrun without -m, or resume=auto for a whole sweep",
    "-m seed=0 {elsewhere} resume=auto": (
        "type the same command with its folder: pgrun -m … resume=auto hydra.sweep.dir="
    ),
    "seed=0 {elsewhere} resume=auto": (
        "type the same command with its folder: pgrun … resume=auto hydra.run.dir="
    ),
    "seed=1 {elsewhere} resume=auto hydra.run.dir=s/0": (
        "s/0: holds a run with seed=0, not 1; env.kwargs.who=0, not 1"
    ),
    "-m seed=0 {line}": "s/0: holds a run already: choose another hydra.sweep.dir, go on with resume=auto",
}


def test_what_is_no_sweep_of_the_command_is_refused(done: Path) -> None:
    before = {path: path.read_bytes() for path in (done / "s").rglob("*") if path.is_file()}
    for typed, sentence in REFUSED.items():
        answer = pgrun(typed.format(line=LINE, elsewhere=LINE.replace("hydra.sweep.dir=s", "")))
        assert (answer.code, sentence in answer.err) == (2, True), (typed, answer)
        assert "Traceback" not in answer.err
    assert before == {path: path.read_bytes() for path in (done / "s").rglob("*") if path.is_file()}


def test_a_sweep_under_way_is_left_alone(done: Path) -> None:
    with (done / "s" / "0" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = pgrun(f"-m seed=0 {LINE} resume=auto")
    assert (answer.code, "another process is training there" in answer.err) == (2, True)


def test_one_run_that_may_have_begun(faulty: Path) -> None:
    """The same command again and again: it starts, goes on, and has nothing to do."""
    line = f"{LINE.replace('hydra.sweep.dir=s', '')} hydra.run.dir=s/0 resume=auto"
    (faulty / "fault").write_text("0 slow")
    run = Sweep(line)
    run.wait_for(lambda: run.saved(faulty / "s" / "0") >= 32)
    run.kill(signal.SIGUSR1, group=False)
    assert run.answer().code == 75
    saved, before = run.saved(faulty / "s" / "0"), steps(faulty, 0)
    (faulty / "fault").unlink()
    assert pgrun(line).code == 0
    after = steps(faulty, 0)
    assert pgrun(line).code == 0
    assert steps(faulty, 0) == after
    assert pgrun(line.replace("s/0 resume=auto", "straight")).code == 0
    assert told(faulty / "s" / "0") == told(faulty / "straight")
    assert after - before <= steps(faulty, 0) - after - saved + 2 * EPISODE


def test_studies_are_not_made_twice(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    line = [
        "-m",
        "seed=0,1",
        "env=pgrun/OneState-v0",
        "episodes=40",
        "critic=none",
        "picture=false",
        "hydra.sweep.dir=s",
    ]
    assert answer(study, "pgrun-study", *line).code == 0
    first = {path: path.stat().st_mtime_ns for path in here.rglob("study.json")}
    (find_job_folder(here / "s", 1) / "study.json").unlink()
    again = answer(study, "pgrun-study", *line, "resume=auto")
    assert (again.code, "resume=auto: 1 finished, 1 killed" in again.out) == (0, True)
    assert [path.stat().st_mtime_ns == first[path] for path in sorted(first)] == [True, False]
