"""``resume=auto`` and ``resume=retry``: what of a command was done before, in the folder that it names.

Every job writes its settings to ``job.json`` when it starts. A job of the command is the same as one in the
folder where all settings and the seed agree; it then lies where the command wants it, moved there if the
sweep has grown. What was done is left to the job itself (``job.run_job``): it returns the result that it has,
or goes on from its checkpoint, or starts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgrun.command.app import App
from pgrun.command.compose import Job
from pgrun.command.folder_names import number_of
from pgrun.command.overrides import Command, shell_word
from pgrun.errors import InvalidCommand
from pgrun.runs.job_status import (
    SETTINGS,
    Flat,
    flatten_for_comparison,
    format_changes,
    read_json_object,
    read_result,
)
from pgrun.storage.newest_run import find_newest
from pgrun.terminal.printing import say
from pgrun.terminal.signals import STOP

HOW = ("auto", "retry")


def split_resume_word(command: Command) -> tuple[Command, str | None]:
    """(the command without its ``resume=auto``, which is ours and not Hydra's; ``auto``,
    ``retry`` or None).
    """
    how = [str(word.value) for word in command.words if word.key == "resume" and word.value in HOW]
    if not how:
        return command, None
    words = [word for word in command.words if word.key != "resume"]
    setting = "hydra.sweep.dir" if command.multirun else "hydra.run.dir"
    if not any(word.key == setting for word in words):
        raise InvalidCommand("resume", how[-1], f"in which folder? {resume_example(command, setting)}")
    return replace(command, words=words), how[-1]


def resume_example(command: Command, setting: str) -> str:
    """What to type: with the newest sweep below the usual folder, if there is one."""
    name = command.app.name + (" -m" if command.multirun else "")
    newest = find_newest(command.multirun) if command.app.name == "pgrun" else None
    folder = shell_word(setting, newest.folder) if newest else f"{setting}=FOLDER"
    return f"type the same command with its folder: {name} … resume=auto {folder}"


def prepare_resume(jobs: Sequence[Job], command: Command, how: str) -> None:
    """Every job of the command in its folder, ready to go on.

    Raises ``InvalidCommand`` and then has changed nothing.
    """
    app, top = command.app, Path(jobs[0].hydra.sweep.dir) if command.multirun else jobs[0].folder
    held = {
        path.parent: flatten_for_comparison(read_json_object(path)["settings"])
        for path in sorted(top.rglob(SETTINGS))
    }
    wanted = {job.folder: flatten_for_comparison(job.settings) for job in jobs}
    refuse_if_training(held)
    of_seeds = {folder: settings for folder, settings in held.items() if folder.parent in held}
    held = {folder: settings for folder, settings in held.items() if folder not in of_seeds}
    if not command.multirun:
        refuse_folder_of_jobs(top, list(held))
    moves = plan_moves(held, wanted)
    numbers = {number_of(folder.name): folder for folder in held if folder.parent == top}
    for folder in wanted:
        there = folder if folder in held else numbers.get(number_of(folder.name), folder)
        if folder in moves.values() or there in moves.values():
            continue
        if folder not in held and folder not in moves and any((folder / name).exists() for name in app.files):
            raise InvalidCommand(
                folder, None, f"holds a run, but no {SETTINGS} that says which", "choose another folder"
            )
        if there in held and held[there] != wanted[folder]:
            which = "of the sweep, more values after those it has" if command.multirun else "that it has"
            raise InvalidCommand(
                there,
                None,
                f"holds a {'job' if command.multirun else 'run'} with "
                f"{format_changes(held[there], wanted[folder])}",
                f"type the settings {which}, or choose another folder",
            )
    refuse_other_seeds(jobs, moves, of_seeds)
    move_folders(moves, top)
    (top / STOP).unlink(missing_ok=True)
    if how == "retry":
        forget_failures(wanted, app)
    say(f"resume={how}: {format_status_counts(wanted, app)}")


def refuse_folder_of_jobs(folder: Path, held: Sequence[Path]) -> None:
    """One run has the folder to itself: jobs below it are a sweep's."""
    if held and folder not in held:
        raise InvalidCommand(
            folder,
            None,
            f"holds {len(held)} jobs, of a sweep",
            f"go on with them by pgrun -m … resume=auto hydra.sweep.dir={folder}, with one by its own "
            "folder, or choose another folder",
        )


def refuse_other_seeds(
    jobs: Sequence[Job], moves: Mapping[Path, Path], of_seeds: Mapping[Path, Flat]
) -> None:
    """A mean over seeds is one of runs that differ in nothing else: a seed that was gone on with alone may.

    ``of_seeds``: what the folders of seeds hold. Raises ``InvalidCommand``.
    """
    from pgrun.runs.seeds import settings_with_seed

    for job in jobs:
        below = moves.get(job.folder, job.folder)
        for seed in job.settings.get("seeds") or ():
            there = of_seeds.get(below / str(seed))
            if not there:  # not begun, or no file that can be read
                continue
            wanted = flatten_for_comparison(settings_with_seed(job.own_composed(), seed))
            if there != wanted:
                raise InvalidCommand(
                    below / str(seed),
                    None,
                    f"holds a run with {format_changes(there, wanted)}",
                    "the mean over seeds is one of runs with the same settings: go on with each of them by "
                    "its own resume=FOLDER, or choose another folder",
                )


def plan_moves(held: Mapping[Path, Flat], wanted: Mapping[Path, Flat]) -> dict[Path, Path]:
    """{folder where the command wants a job: folder that holds it now}."""
    spare: dict[frozenset[Any], list[Path]] = {}
    for folder, settings in held.items():
        if wanted.get(folder) != settings:
            spare.setdefault(frozenset(settings.items()), []).append(folder)
    missing = {folder: frozenset(s.items()) for folder, s in wanted.items() if held.get(folder) != s}
    return {folder: spare[key].pop(0) for folder, key in missing.items() if spare.get(key)}


def move_folders(moves: Mapping[Path, Path], top: Path) -> None:
    """Rename folders by way of names that nobody has; after a crash in between they
    are found again, by what is in them.
    """
    aside = {to: top / f".moved-{number}" for number, to in enumerate(moves)}
    for to, at in moves.items():
        at.rename(aside[to])
    for to, at in aside.items():
        to.parent.mkdir(parents=True, exist_ok=True)
        at.rename(to)


def refuse_if_training(held: Mapping[Path, Flat]) -> None:
    """Raises ``InvalidCommand`` where a process is still training."""
    from pgrun.storage.folder_lock import TRAINING, Occupied, is_locked

    for folder in held:
        if is_locked(folder):
            raise Occupied(folder, None, TRAINING)


def forget_failures(folders: Mapping[Path, Flat], app: App) -> None:
    for place in (place for folder in folders for place in folder.rglob(app.result)):
        if read_result(place.parent, app)["status"] == "failed":
            place.unlink()


def format_status_counts(folders: Mapping[Path, Flat], app: App) -> str:
    """``3 finished, 1 killed, 2 not run``."""
    count = Counter(read_result(folder, app)["status"] for folder in folders)
    return ", ".join(f"{number} {status}" for status, number in count.items())
