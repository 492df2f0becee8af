"""What a sweep asks of Slurm, and what becomes of a job that Slurm pre-empts. Slurm itself is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support_faults import EPISODE, LINE, MODULE, Sweep, results, steps, told

from pgrun.command import launchers
from pgrun.command.folder_names import find_job_folder
from pgrun.config.paths import conf_dir
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_slurm import pretend

SLURM = "hydra/launcher=slurm"


@pytest.fixture
def slurm(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    (here.parent / "faulty.py").write_text(MODULE)
    sys.modules.pop("faulty", None)
    return pretend(here.parent, monkeypatch)


def test_the_script(slurm: Path, here: Path) -> None:  # noqa: F811
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


@pytest.mark.slow
def test_a_job_that_is_preempted_goes_on(slurm: Path, here: Path) -> None:  # noqa: F811
    """submitit is told by SIGUSR2: the job is saved first, then queued again, and is
    the one that was never stopped.
    """
    assert pgrun(f"-m seed=0,1 {LINE}".replace("dir=s", "dir=whole")).code == 0
    before = [steps(here, n) for n in (0, 1)]
    (here / "fault").write_text("1 slow")
    sweep = Sweep(f"-m {SLURM} seed=0,1 {LINE}")
    sweep.wait_for(lambda: sweep.saved(find_job_folder(here / "s", 1)) >= 32)
    os.kill(int((slurm / "pid-1").read_text()), signal.SIGUSR2)
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


@pytest.mark.parametrize("launcher", launchers.NEEDS)
def test_a_missing_extra_is_named(launcher: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    answer = pgrun(f"-m hydra/launcher={launcher} seed=0,1")
    extra = "parallel" if launcher in ("joblib", "parallel") else "slurm"
    assert answer.code == 2
    assert f"hydra/launcher={launcher}: a package is missing; the extra brings it: pip install" in answer.err
    assert f'-e ".[{extra}]"' in answer.err
    assert not list(here.iterdir())


def test_without_slurm(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("PATH", str(here))  # this machine may have it
    answer = pgrun(f"-m {SLURM} seed=0,1")
    assert (answer.code, "no srun here" in answer.err) == (2, True)


def test_presets_are_those_of_installed_launchers() -> None:
    folder = conf_dir() / "hydra" / "launcher"
    assert {path.stem for path in folder.glob("*.yaml")} < set(launchers.NEEDS)
    assert all(launchers.is_installed(plugin) for plugin in launchers.EXTRAS.values())
