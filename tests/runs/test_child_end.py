"""What is said of a process that could not say itself how it ended."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pgrun.command.app import PGRUN
from pgrun.runs import child_end, child_process
from pgrun.runs.child_end import Beginning, count_kernel_kills, exit_reason, note_beginning
from pgrun.runs.job_status import read_json_object, read_result
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun

HYDRA = {
    "job_logging": {"handlers": {}},
    "verbose": False,
    "runtime": {"cwd": "."},
    "job": {"num": 3, "env_copy": ["COPIED", "SET", "NOWHERE"], "env_set": {"SET": "of ${hydra.job.num}"}},
}
CRASH = """
import os, sys, threading
from pgrun.runs.child_end import report_crashes
threading.Thread(target=threading.Event().wait, daemon=True).start()
report_crashes({"handlers": {"file": {"filename": sys.argv[1]}}})
def fall(): os.abort()
fall()
"""


def begun(log: Path) -> Beginning:
    return note_beginning({"handlers": {"console": {}, "file": {"filename": str(log)}}})


def test_a_crash_names_the_place_in_its_own_thread(tmp_path: Path) -> None:
    log = tmp_path / "pgrun.log"
    log.write_text("of an earlier attempt\n")
    beginning = begun(log)
    done = subprocess.run([sys.executable, "-c", CRASH, str(log)], check=False, capture_output=True)
    assert exit_reason(done.returncode, False, beginning) == (
        "failed",
        "crashed with SIGABRT (exit code 134); its log ends: Fatal Python error: Aborted | "
        'File "<string>", line 6 in fall',
    )


def test_the_last_two_lines_of_this_attempt(tmp_path: Path) -> None:
    log = tmp_path / "pgrun.log"
    log.write_text("earlier\n")
    beginning = begun(log)
    assert exit_reason(7, False, beginning) == ("failed", "its process left with exit code 7")
    with log.open("a") as file:
        file.write("one\n\ntwo\x1b[2J\nthree\n")
    assert exit_reason(7, False, beginning)[1].endswith("; its log ends: two\\x1b[2J | three")
    assert exit_reason(-9, True, beginning) == ("interrupted", "ended before it was saved")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [(3, 4, "; the system had no more memory for it"), (3, 3, ""), (None, None, "; out of memory?")],
)
def test_whether_the_system_ended_it(
    before: int | None, now: int | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_end, "count_kernel_kills", lambda: now)
    beginning = Beginning(None, 0, before)
    assert exit_reason(-signal.SIGKILL, False, beginning) == (
        "killed",
        f"killed by SIGKILL (exit code 137){said}",
    )
    assert exit_reason(-signal.SIGTERM, False, beginning)[1] == "killed by SIGTERM (exit code 143)"


def test_the_counter_of_linux(tmp_path: Path) -> None:
    place = tmp_path / "vmstat"
    place.write_text("nr_free_pages 7\noom_kill 12\n")
    assert count_kernel_kills(place) == 12
    assert count_kernel_kills(tmp_path / "none") is None


def test_a_process_that_dies_before_it_says_which_job_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named for it, so that ``resume=retry``, which is advised, knows the job."""
    monkeypatch.setattr(child_process, "FORKS", multiprocessing.get_context("fork"))
    monkeypatch.setattr(child_process, "start_server", lambda: None)
    monkeypatch.setattr(child_process, "child_main", lambda *_: os._exit(5))
    settings = {"algo": {"name": "a2c"}, "variance": {"name": "gae"}, "env": {"id": "E"}, "seed": 3}
    job = child_process.ChildJob(PGRUN, settings, tmp_path, {}, False, tmp_path, {})
    assert math.isnan(child_process.run_in_child_process(job, tmp_path))
    assert read_json_object(tmp_path / "job.json")["settings"] == settings
    assert read_result(tmp_path, PGRUN)["error"] == "its process left with exit code 5"


def child_job(folder: Path) -> child_process.ChildJob:
    config = OmegaConf.create({"hydra": HYDRA})
    return child_process.ChildJob.of(config.hydra, PGRUN, {}, folder)


def test_a_child_has_the_variables_of_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of hydra.job.env_copy and hydra.job.env_set: the server's environment may be another job's."""
    monkeypatch.setenv("COPIED", "mine")
    monkeypatch.setenv("SET", "before")
    monkeypatch.delenv("NOWHERE", raising=False)
    work = child_job(tmp_path)
    assert work.variables == {"COPIED": "mine", "SET": "of 3"}
    monkeypatch.setenv("COPIED", "another job's")
    seen = []

    def stop_here() -> None:
        seen.append((os.environ["COPIED"], os.environ["SET"]))
        raise SystemExit

    monkeypatch.setattr(child_process, "outlast_readers", stop_here)
    with pytest.raises(SystemExit):
        child_process.child_main(work, None)  # type: ignore[arg-type]
    assert seen == [("mine", "of 3")]


def test_a_child_that_is_stopped_while_it_begins_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves with the signal's exit code, before it has a log."""
    for name in ("COPIED", "SET"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(child_process, "outlast_readers", lambda: None)
    monkeypatch.setattr(child_process, "restore_import_path", lambda: signal.raise_signal(signal.SIGINT))
    handlers = {number: signal.getsignal(number) for number in child_process.CODES}
    try:
        with pytest.raises((SystemExit, KeyboardInterrupt)) as left:
            child_process.child_main(child_job(tmp_path), None)  # type: ignore[arg-type]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert (left.type, left.value.code) == (SystemExit, 130)


def test_a_sweeps_jobs_have_each_their_own_variables(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All are forked from one server, which was started with neither."""
    module = (here.parent / "my_mod.py").read_text()
    told = "open(f\"of-{os.environ.get('SET')}-{os.environ.get('COPIED')}\", \"w\")"
    module = module.replace("self.trouble = trouble", f"self.trouble = trouble; import os; {told}.close()")
    (here.parent / "my_mod.py").write_text(module)
    child_process.start_server()
    monkeypatch.setenv("COPIED", "mine")
    line = f"-m env=my_mod:Line-v0 algo=reinforce network.hidden=[4] backend=torch {QUICK} seed=0,1"
    chosen = "hydra.job.env_copy=[COPIED] '+hydra.job.env_set.SET=${hydra.job.num}' hydra.sweep.dir=s"
    answer = pgrun(f"{line} {chosen}")
    assert answer.code == 0, answer.err
    assert {"of-0-mine", "of-1-mine"} <= {path.name for path in here.iterdir()}
