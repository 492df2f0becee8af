"""Before a search begins or goes on: ``resume=auto``, ``resume=retry``, and a storage that others share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgrun.command import search_space
from pgrun.command.compose import Job, composing_with_hydra, parse_overrides
from pgrun.command.folder_names import find_job_folders
from pgrun.command.overrides import Command
from pgrun.command.search_check import search_settings_of
from pgrun.command.search_settings import FILE, holds_search
from pgrun.errors import InvalidCommand
from pgrun.runs import resume_sweep
from pgrun.runs.job_status import SETTINGS, Flat
from pgrun.runs.search import record
from pgrun.terminal.printing import say
from pgrun.terminal.signals import STOP


def prepare_search_resume(jobs: Sequence[Job], command: Command, how: str) -> None:
    """What was begun is that of the command, and ready to go on.

    Raises ``InvalidCommand`` and then has changed nothing.
    """
    app, top, search = command.app, Path(jobs[0].hydra.sweep.dir), search_settings_of(jobs[0])
    if not holds_search(top) and any(top.rglob(SETTINGS)):
        raise InvalidCommand(top, None, f"holds runs, but no {FILE} of a search", "choose another folder")
    known, _ = read_search(jobs, command)
    resume_sweep.refuse_if_training({path.parent: {} for path in top.rglob(SETTINGS)})
    (top / STOP).unlink(missing_ok=True)
    folders = find_job_folders(top)
    own = [n for n, trial in enumerate(known.trials) if trial is not None]
    proposed = {folders.get(n, top / str(n)): Flat() for n in own}
    if how == "retry":
        resume_sweep.forget_failures(proposed, app)
    told = resume_sweep.format_status_counts(proposed, app) or "nothing yet"
    say(f"resume={how}: {told}, of {search.n_trials} trials")


def read_search(jobs: Sequence[Job], command: Command) -> tuple[record.Record, search_space.Space]:
    """What was begun in the folder, or is about to be, and the space that the command spans.

    Raises ``InvalidCommand`` where the folder holds another search.
    """
    search, top = search_settings_of(jobs[0]), Path(jobs[0].hydra.sweep.dir)
    typed = [f"{key}={value}" for key, value in search.params.items()]
    with composing_with_hydra(command.config_dir, command.app):
        space = search_space.read_search_space(
            [word for word in parse_overrides(command, typed) if not word.is_hydra_override()]
        )
    return record.load_record(top, record.new_record(search, space, jobs[0].settings), space), space


def check_storage(jobs: Sequence[Job], command: Command) -> None:
    """Before anything is written: the storage answers, and its study is this search.

    Raises ``InvalidCommand``.
    """
    search = search_settings_of(jobs[0])
    if search.storage is not None:
        from pgrun.runs.search.open_study import open_study

        known, space = read_search(jobs, command)
        open_study(search, space, known, Path(jobs[0].hydra.sweep.dir))
