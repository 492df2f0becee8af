"""A job that dies leaves the others, on every launcher, and the end of the sweep says
of each how it ended.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor
from support_faults import LINE, MODULE, results, said

from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import Answer, pgrun
from tests.helpers.support_slow import slow_but

VICTIM = 2
FAULTS = {
    "raise": r"failed: .*ZeroDivisionError: division by zero.*",
    "exit": r"failed: .*sys\.exit\(0\)",
    "leave": r"failed: its process left with exit code 7",
    "abort": r"failed: crashed with SIGABRT \(exit code 134\); its log ends: Fatal Python error: Aborted \| "
    r'File ".*faulty\.py", line \d+ in step',
    "segfault": r"failed: crashed with SIGSEGV \(exit code 139\); its log ends: Fatal Python error: "
    r'Segmentation fault \| File ".*", line \d+ in string_at',
    "kill": r"killed: killed by SIGKILL \(exit code 137\)(; out of memory\?)?",
    "terminate": "interrupted: stopped by SIGTERM",
}
FOUR = ("raise", "exit", "abort", "kill")
JOBLIB = "hydra/launcher=parallel hydra.launcher.n_jobs=2"
LOCAL = "hydra/launcher=local"


@pytest.fixture
def faulty(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # noqa: F811
    """Without what a test before has left: the module in another folder, joblib's workers standing there."""
    (here.parent / "faulty.py").write_text(MODULE)
    sys.modules.pop("faulty", None)
    monkeypatch.setenv("PYTHONPATH", str(here.parent))  # for submitit's
    yield here
    get_reusable_executor().shutdown(wait=True)


def check(answer: Answer, sweep: Path, fault: str, jobs: int = 6, victim: int = VICTIM) -> None:
    """All but one have a result; the table is over those, and the one is named."""
    assert answer.code == 1, answer
    actual = results(sweep)
    assert [r["status"] == "finished" for r in actual] == [n != victim for n in range(jobs)]
    assert all("params_sha256" in r for n, r in enumerate(actual) if n != victim)
    assert f" {','.join(str(n) for n in range(jobs) if n != victim)} " in answer.out  # the seeds in the table
    lines = said(answer)
    assert re.fullmatch(rf"pgrun: job {victim} \(.*seed={victim}.*\) {FAULTS[fault]}", lines[0])
    assert lines[1].startswith(f"pgrun: 1 of {jobs} jobs did not finish: 1 {FAULTS[fault].split(':')[0]}; ")
    assert ("resume=retry" in lines[1]) == FAULTS[fault].startswith("failed")
    kept = json.loads((sweep / "sweep.json").read_text())["jobs"]
    assert [job["status"] for job in kept] == [r["status"] for r in actual]


def test_every_fault_in_one_sweep(faulty: Path) -> None:
    (faulty / "fault").write_text("\n".join(f"{n} {fault}" for n, fault in enumerate(FAULTS)))
    answer = pgrun(f"-m seed='range(0,{len(FAULTS) + 1})' {LINE}")
    assert answer.code == 1
    for n, outcome in enumerate(FAULTS.values()):
        assert re.search(rf"^pgrun: job {n} \(.*seed={n} .*\) {outcome}$", answer.err, re.M), answer.err
    assert said(answer)[-1].startswith(
        "pgrun: 7 of 8 jobs did not finish: 5 failed, 1 killed, 1 interrupted; the same command goes on with "
        "them with resume=auto, tries the 5 failed again with resume=retry hydra.sweep.dir=s"
    )
    assert results(faulty / "s")[-1]["status"] == "finished"


@pytest.mark.parametrize("launcher", slow_but([LOCAL], [JOBLIB, LOCAL]))
def test_a_killed_job_on_other_launchers(launcher: str, faulty: Path) -> None:
    (faulty / "fault").write_text("1 kill")
    check(pgrun(f"-m {launcher} seed=0,1 {LINE}"), faulty / "s", "kill", jobs=2, victim=1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FOUR)
@pytest.mark.parametrize("launcher", ["", JOBLIB, LOCAL])
def test_one_of_six_jobs(launcher: str, fault: str, faulty: Path) -> None:
    (faulty / "fault").write_text(f"{VICTIM} {fault}")
    check(pgrun(f"-m {launcher} seed='range(0,6)' {LINE}"), faulty / "s", fault)
