"""What a sweep asks of Slurm, and what becomes of a job that Slurm pre-empts. Slurm itself is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from submitit.core.core import Job
from submitit.slurm.slurm import SlurmInfoWatcher
from support_faults import EPISODE, LINE, MODULE, Sweep, results, steps, told

from pgrun.command import launchers
from pgrun.command.folder_names import find_job_folder
from pgrun.config.paths import conf_dir
from pgrun.runs.child_process import deferring_signals, is_queued_again
from pgrun.runs.slurm_states import knowing_slurm_states
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_slurm import pretend

SLURM = "hydra/launcher=slurm"


@pytest.fixture
def slurm(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    (here.parent / "faulty.py").write_text(MODULE)
    sys.modules.pop("faulty", None)
    return pretend(here.parent, monkeypatch)


def test_the_script(slurm: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(Job, "_results_timeout_s", 0)  # seconds that it waits for files of a job that is over
    (slurm / "sbatch").write_text('#!/bin/bash\ncp "$1" "$SLURM_FAKE/script"\necho "Submitted batch job 7"')
    (slurm / "sacct").write_text('#!/bin/bash\necho "JobID|State|NodeList"; echo "7_[0-1]|NODE_FAIL|here"')
    answer = pgrun(f"-m {SLURM} hydra.launcher.partition=gpu seed=0,1 {LINE}")
    assert (answer.code, "pgrun: not run: jobs 0, 1" in answer.err) == (1, True), answer
    assert "the launcher stopped: UncompletedJobError" in answer.err
    script = (slurm / "script").read_text().splitlines()
    wanted = {
        "array=0-1%2",
        "cpus-per-task=1",
        "mem=4GB",
        "partition=gpu",
        "requeue",
        "signal=USR2@120",
        "time=240",
    }
    assert wanted <= {line.removeprefix("#SBATCH --") for line in script}
    subprocess.run(["bash", "-n", str(slurm / "script")], check=True)


def test_a_job_that_is_gone_is_not_waited_for_without_accounts(slurm: Path) -> None:
    """sacct fails, as on a cluster without accounting; the controller says what became of the jobs."""
    (slurm / "sacct").write_text("#!/bin/bash\nexit 1")
    (slurm / "squeue").write_text("#!/bin/bash\ncat $SLURM_FAKE/queue")
    (slurm / "squeue").chmod(0o755)
    watcher = SlurmInfoWatcher()
    for job in ("7_0", "7_1", "7_2"):
        watcher.register_job(job)

    def ended() -> list[str]:
        time.sleep(0.01)  # asked twice at once, submitit asks nobody
        return [job for job in ("7_0", "7_1", "7_2") if watcher.is_done(job, mode="force")]

    with knowing_slurm_states("slurm"):
        assert ended() == []  # no answer: nothing is known
        (slurm / "queue").write_text("7_0|CONFIGURING\n7_1|RUNNING\n7_2|PENDING\n9|FAILED\n")
        assert ended() == []
        (slurm / "queue").write_text("7_0|COMPLETED\n7_1|CANCELLED\n7_2|PENDING\n")
        assert ended() == ["7_0", "7_1"]
        (slurm / "queue").write_text("")
        assert ended() == ["7_0", "7_1", "7_2"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_job_that_is_queued_again_goes_on(number: int, slurm: Path, here: Path) -> None:  # noqa: F811
    """submitit is told by SIGUSR2 and queues it again; SIGTERM is Slurm's own, as after ``scontrol requeue``.
    The job is saved first, and is then the one that was never stopped.
    """
    assert pgrun(f"-m seed=0,1 {LINE}".replace("dir=s", "dir=whole")).code == 0
    before = [steps(here, n) for n in (0, 1)]
    (here / "fault").write_text("1 slow")
    sweep = Sweep(f"-m {SLURM} seed=0,1 {LINE}")
    sweep.wait_for(lambda: sweep.saved(find_job_folder(here / "s", 1)) >= 32)
    if number == signal.SIGTERM:
        (slurm / "again-7_1").touch()
    os.kill(int((slurm / "pid-1").read_text()), number)
    sweep.wait_for(lambda: (slurm / "starts-1").stat().st_size == 4)
    saved = sweep.saved(find_job_folder(here / "s", 1))
    (here / "fault").unlink()
    answer = sweep.answer()
    assert answer.code == 0, (answer, (slurm / "log").read_text())
    assert [r["status"] for r in results(here / "s")] == ["finished"] * 2
    assert [told(find_job_folder(here / "s", n)) for n in (0, 1)] == [
        told(find_job_folder(here / "whole", n)) for n in (0, 1)
    ]
    assert 32 <= saved < 128
    assert steps(here, 0) == 2 * before[0]
    assert steps(here, 1) <= 2 * before[1] + 2 * EPISODE  # brought back to where the environments were
    assert (slurm / "starts-0").stat().st_size == 2  # a line for each start


@pytest.mark.parametrize("under_slurm", [True, False])
def test_sigterm_is_slurms_own_under_slurm(under_slurm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere whoever has a handler for it is told at once; for either there is a job to save first."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if under_slurm:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    told: list[int] = []
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, lambda n, _frame: told.append(n))  # as submitit's, which says so in its log
    try:
        with deferring_signals() as asked:
            signal.raise_signal(signal.SIGTERM)
        assert (asked, told) == (([15], []) if under_slurm else ([], [15]))
    finally:
        for n, handler in handlers.items():
            signal.signal(n, handler)


@pytest.mark.parametrize(
    ("told", "before", "again"),
    [("Restarts=1", None, True), ("Restarts=0", None, False), ("Restarts=1", "1", False), ("", None, False)],
)
def test_whether_it_is_queued_again(
    told: str, before: str | None, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the number of restarts tells, which counts from the moment of the request."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\n[ "$*" = "show job 7" ] && echo "JobState=COMPLETING {told} Requeue=1"')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if before:
        monkeypatch.setenv("SLURM_RESTART_COUNT", before)
    assert is_queued_again() is again


@pytest.mark.parametrize("launcher", launchers.NEEDS)
def test_a_missing_extra_is_named(launcher: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    answer = pgrun(f"-m hydra/launcher={launcher} seed=0,1")
    extra = "parallel" if launcher in ("joblib", "parallel") else "slurm"
    assert answer.code == 2
    assert f"hydra/launcher={launcher}: a package is missing; the extra brings it: pip install" in answer.err
    assert f'pip install "pgrun[{extra}]"' in answer.err
    assert not list(here.iterdir())


def test_without_slurm(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("PATH", str(here))  # this machine may have it
    answer = pgrun(f"-m {SLURM} seed=0,1")
    assert (answer.code, "no srun here" in answer.err) == (2, True)


def test_presets_are_those_of_installed_launchers() -> None:
    folder = conf_dir() / "hydra" / "launcher"
    assert {path.stem for path in folder.glob("*.yaml")} < set(launchers.NEEDS)
    assert all(launchers.is_installed(plugin) for plugin in launchers.EXTRAS.values())
