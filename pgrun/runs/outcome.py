"""How a job ended, and how that is said in its folder."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pgrun.atomic_files import read_bytes, write_bytes
from pgrun.command.app import App
from pgrun.config.own_code import find_own_fault
from pgrun.errors import (
    InvalidCommand,
    OutOfMemory,
    RunFilesLost,
    UserFacingError,
    describe_lack_of_memory,
    escape_line,
)
from pgrun.terminal.printing import shorten_folder

log = logging.getLogger(__name__)


def record_outcome(
    app: App,
    settings: Mapping[str, Any],
    folder: Path,
    status: str,
    reason: str,
    earlier: Mapping[str, Any],
    quiet: bool = False,
) -> None:
    """How a job ended without a result, where the disk lets it be said. ``quiet``: the disk is the reason.

    A result that came since the job began, when the folder had ``earlier``, stays.
    """
    if has_new_result(folder, app, earlier):
        return
    try:
        app.record(settings, folder, status, reason)
    except OSError as unwritable:
        if not quiet:
            log.error("no %s in %s: %s", app.result, folder, unwritable.strerror)


def has_new_result(folder: Path, app: App, earlier: Mapping[str, Any]) -> bool:
    """Whether the job has come to its result, so that what happens now is after it."""
    from pgrun.runs.job_status import WITH_VALUE, read_result

    now = read_result(folder, app)
    return now["status"] in WITH_VALUE and now != earlier


def write_record(
    place: Path, settings: Mapping[str, Any], names: Mapping[str, str], status: str, error: str
) -> None:
    """Some settings by their names, how it ended, and why."""
    from pgrun.atomic_files import write_json

    config = OmegaConf.create(dict(settings))
    told = OmegaConf.create({name: OmegaConf.select(config, key) for name, key in names.items()})
    write_json(place, {"status": status, **OmegaConf.to_container(told), "error": error})  # type: ignore[dict-item]


def format_error_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"something in the run called sys.exit({error.code!r})"
    text = str(error) if isinstance(error, UserFacingError) else f"{type(error).__name__}: {error}"
    return escape_line(text.strip().rstrip(":").splitlines()[0])


def run_and_record(
    settings: Mapping[str, Any],
    folder: Path,
    app: App,
    work: Callable[[Mapping[str, Any], Path], float] | None = None,
    in_sweep: bool = False,
    theirs: tuple[type[BaseException], ...] = (),
) -> float:
    """What ``work`` returns, without it the app's own.

    How it ended is said in the run directory; ``theirs`` pass.
    """
    from pgrun.storage.folder_lock import Occupied, run_lock

    try:
        with run_lock(folder):
            return record_how_it_ends(settings, folder, app, work or app.work, in_sweep, theirs)
    except Occupied as error:
        if not in_sweep:
            raise
        log.error("the job was not run: %s", error)
        return math.nan


def record_how_it_ends(
    settings: Mapping[str, Any],
    folder: Path,
    app: App,
    work: Callable[[Mapping[str, Any], Path], float],
    in_sweep: bool,
    theirs: tuple[type[BaseException], ...],
) -> float:
    """The value of the work, whose end is recorded, in a folder that is this process's alone."""
    from pgrun.runs.job_status import SETTINGS, read_result, write_settings

    earlier = read_result(folder, app)
    said = read_bytes(folder / SETTINGS) if (folder / SETTINGS).exists() else None
    try:
        write_settings(folder, settings)
        return work(settings, folder)
    except theirs:
        raise
    except KeyboardInterrupt as stop:
        name = getattr(stop, "name", "SIGINT")
        reason = "stopped by Ctrl-C" if name == "SIGINT" else f"stopped by {name}"
        record_outcome(app, settings, folder, "interrupted", reason, earlier)
        if has_new_result(folder, app, earlier):
            stop.hint = f"it was finished: {shorten_folder(folder)}"  # type: ignore[attr-defined]
        raise
    except BaseException as raised:
        error = name_lack_of_memory(raised, settings, folder)
        error = find_own_fault(error) or error
        if (
            isinstance(error, InvalidCommand) and not in_sweep
        ):  # nothing was run: what the folder says stays true
            if said is not None:
                write_bytes(folder / SETTINGS, said)
            raise
        if not isinstance(error, RunFilesLost):  # what is at the folder's place may be anybody's
            reason = format_error_line(error)
            record_outcome(app, settings, folder, "failed", reason, earlier, quiet=isinstance(error, OSError))
        if in_sweep:
            known = isinstance(error, UserFacingError | OSError)
            log.error("the job in %s failed: %s", folder, format_error_line(error), exc_info=not known)
            return math.nan
        if isinstance(error, SystemExit):  # a run that was left is no finished run, whatever code it names
            raise RuntimeError(format_error_line(error)) from error
        if error is not raised:
            raise error from raised
        raise


def name_lack_of_memory(error: BaseException, settings: Mapping[str, Any], folder: Path) -> BaseException:
    """The error itself, or one sentence where it says that there is no more memory."""
    if (lack := describe_lack_of_memory(error)) is None:
        return error
    saved = ""
    if (folder / "checkpoints").is_dir():
        from pgrun.training.identity import format_resume_command

        saved = f"; the run is saved: {format_resume_command(settings, folder)} goes on where there is more"
    return OutOfMemory(
        f"{lack}: take fewer env.num_envs, sampler.steps or sampler.episodes, or a smaller network{saved}"
    )
