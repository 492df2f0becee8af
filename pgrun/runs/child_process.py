"""A job of a sweep in a process of its own: whatever becomes of it, the sweep goes on and knows.

Children are forked from a server that has imported torch and done nothing else: some 20 ms each, with no
thread, no CUDA context and nothing of the user's in them from before.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import FrameType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pgrun.command.app import App
from pgrun.config.import_path import restore_import_path, safe_import_path
from pgrun.config.paths import showing_paths_from
from pgrun.config.user_modules import hiding_user_folders
from pgrun.runs.child_end import exit_reason, note_beginning, report_crashes
from pgrun.runs.workers import this_worker
from pgrun.terminal.cores import CORE_LIMIT
from pgrun.terminal.exit_codes import ExitCode
from pgrun.terminal.signals import CODES, SignalFlag, Stopped, read_stop_signal
from pgrun.terminal.streams import outlast_readers

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pgrun.runs.preload"])
POLL = 0.1  # seconds between looks for a signal
ANSWERS = 20.0  # seconds in which Slurm does


@dataclass(frozen=True)
class ChildJob:
    """What a child needs to know."""

    app: App
    settings: Mapping[str, Any]
    folder: Path
    log: dict[str, Any]  # Hydra's job_logging
    verbose: Any
    typed_in: Path  # where the user stands, which with hydra.job.chdir is not where the job does
    variables: Mapping[str, str]  # of the environment: the server's is that of when it was started
    at_once: int = 1  # jobs that share the cores, this one among them
    quiet: bool = False  # its result is not printed

    @classmethod
    def of(
        cls,
        hydra: DictConfig,
        app: App,
        settings: Mapping[str, Any],
        folder: Path,
        at_once: int = 1,
        quiet: bool = False,
    ) -> ChildJob:
        """``hydra``: Hydra's section of the job's configuration."""
        logs: Any = OmegaConf.to_container(hydra.job_logging, resolve=True)
        typed_in, variables = Path(hydra.runtime.cwd), read_job_variables(hydra)
        return cls(app, settings, folder, logs, hydra.verbose, typed_in, variables, at_once, quiet)


def read_job_variables(hydra: DictConfig) -> dict[str, str]:
    """What ``hydra.job.env_copy`` and ``hydra.job.env_set`` ask for; the second decides where both do."""
    copied = {name: os.environ[name] for name in hydra.job.env_copy if name in os.environ}
    chosen: Any = OmegaConf.to_container(hydra.job.env_set, resolve=True)
    return copied | {name: str(value) for name, value in chosen.items()}


def start_server() -> None:
    """Start the server, if it is not there: it imports torch while the command goes on.

    Signals reach the whole process group: they wait until the server ignores them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    try:
        with safe_import_path():
            ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_in_child_process(work: ChildJob, sweep: Path) -> float:
    """The job's result, NaN without one; a death that it could not record itself is recorded here."""
    from pgrun.runs.job_status import read_result

    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        # joblib's workers have one that a child does not know
        multiprocessing.set_start_method(None, force=True)
    with this_worker().job() as owner:
        start_server()
        beginning, earlier = note_beginning(work.log), read_result(work.folder, work.app)
        receiver, sender = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=child_main, args=(work, sender))
        with deferring_signals() as asked:
            with hiding_user_folders():
                process.start()
            sender.close()
            while not wait([process.sentinel], POLL):
                stopped = read_stop_signal(sweep) or (signal.SIGUSR1 if asked else None)
                if stopped is None and owner.is_gone():
                    stopped = signal.SIGTERM
                if stopped is not None:  # again and again: the first may have come before the child listened
                    with suppress(ProcessLookupError):
                        os.kill(process.pid or 0, stopped)
            process.join()
        if signal.SIGTERM in asked and is_queued_again():
            sys.exit(128 + signal.SIGTERM)  # with a result, submitit would not wait for what comes of it
        with suppress(EOFError):
            if receiver.poll():  # something that the job started may hold the pipe open
                result: float = receiver.recv()
                return result
        told = read_stop_signal(sweep) is not None or owner.is_gone()
        reason = exit_reason(process.exitcode or 0, told, beginning)
        record_for_child(work, *reason, earlier)
    return math.nan


def record_for_child(work: ChildJob, status: str, reason: str, earlier: Mapping[str, Any]) -> None:
    """How a process ended that could not say so, or never began.

    Which job it was stands beside it, also where it died before it wrote that: no ``resume=retry`` could go
    on otherwise.
    """
    from pgrun.runs.job_status import SETTINGS, write_settings
    from pgrun.runs.outcome import record_outcome

    with suppress(OSError):
        if not (work.folder / SETTINGS).exists():
            write_settings(work.folder, work.settings)
    record_outcome(work.app, work.settings, work.folder, status, reason, earlier)


def is_queued_again() -> bool:
    """Whether Slurm starts this job once more, as after ``scontrol requeue`` or where its node is lost; not
    after ``scancel`` or at the end of its time.
    """
    command = ("scontrol", "show", "job", os.environ["SLURM_JOB_ID"])
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWERS).stdout
        if match := re.search(r"\bRestarts=(\d+)", told):
            return int(match[1]) > int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return False


def run_unless_stopped(work: ChildJob, sweep: Path) -> float:
    """``run_in_child_process``; where the sweep was told to stop, the job is recorded as not run."""
    if (number := read_stop_signal(sweep)) is None:
        return run_in_child_process(work, sweep)
    from pgrun.runs.job_status import read_result

    reason = f"the sweep was stopped by {signal.Signals(number).name}"
    record_for_child(work, "not run", reason, read_result(work.folder, work.app))
    return math.nan


@contextmanager
def deferring_signals() -> Iterator[list[int]]:
    """Signals for which somebody else has a handler, as submitit has for pre-emption and, under Slurm, for
    SIGTERM: passed on to it once the job is saved.

    Ctrl-C reaches the workers of a launcher too, and is not for them: the sweep's own process tells their
    jobs.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    numbers = (signal.SIGUSR1, signal.SIGUSR2, *((signal.SIGTERM,) if "SLURM_JOB_ID" in os.environ else ()))
    handlers = {number: signal.getsignal(number) for number in numbers}
    theirs = {
        n: handler
        for n, handler in handlers.items()
        if callable(handler) and not isinstance(handler, SignalFlag)
    }
    for each in theirs:
        signal.signal(each, lambda number, _frame: asked.append(number))
    try:
        yield asked
    finally:
        for each, handler in theirs.items():
            signal.signal(each, handler)
    for number in [n for n in asked if n != signal.SIGTERM][:1]:
        signal.raise_signal(number)


def child_main(work: ChildJob, results: Connection) -> None:
    """The body of the child process: the job, and its result sent to the parent."""
    try:
        os.environ.update(work.variables)
        outlast_readers()
        for each in CODES:
            signal.signal(each, stop_once)
        restore_import_path()
        CORE_LIMIT.processes = work.at_once
        threading.Thread(target=end_with_parent, daemon=True).start()
        write_log(work)
        from pgrun.runs.outcome import run_and_record
    except KeyboardInterrupt as stop:  # before the job has begun: the parent records that it ended
        sys.exit(getattr(stop, "code", ExitCode.INTERRUPTED))

    try:
        with showing_paths_from(work.typed_in), silenced_output() if work.quiet else nullcontext():
            value = run_and_record(work.settings, work.folder, work.app, in_sweep=True)
    except KeyboardInterrupt:
        value = math.nan
    with suppress(OSError):  # nobody is left to read it
        results.send(value)


@contextmanager
def silenced_output() -> Iterator[None]:
    """Nothing is printed to stdout meanwhile; the log that is configured already goes on."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


def write_log(work: ChildJob) -> None:
    """Into the job's folder from here on, crashes of Python included."""
    from hydra.core.utils import configure_log

    logging.raiseExceptions = False  # of a disk that takes no log: how the job ended says why
    configure_log(OmegaConf.create(work.log), work.verbose)
    report_crashes(work.log)


def stop_once(number: int, _frame: FrameType | None) -> None:
    """The signal handler where nothing notes signals, as training does: the job ends here."""
    for each in CODES:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def end_with_parent() -> None:
    """A job whose sweep was killed saves itself, and does not train on unseen."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
