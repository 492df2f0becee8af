"""``last``: the newest run, or sweep, below outputs/, in place of its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgrun import atomic_files
from pgrun.errors import InvalidCommand
from pgrun.terminal.exit_codes import refuse_gone_folder
from pgrun.terminal.printing import Tone, say, shorten_folder

LAST = "last"  # as typed
TOP = "outputs"
OTHERS = ("lab", "study", "figures")  # folders in it with runs that nobody asked for by themselves
DEPTH = 4  # outputs/multirun/<date>/<sweep>
SWEEP, RUN = "multirun.yaml", "job.json"  # written when one starts, or goes on


@dataclass(frozen=True)
class Newest:
    folder: Path
    started: float
    several: bool  # a sweep, or one configuration with several seeds


def find_newest(several: bool | None = None) -> Newest | None:
    """By when it was started, or last went on; ``several``: of sweeps alone, or of single runs."""
    runs = (one for one in find_started(Path(TOP), DEPTH) if several in (None, one.several))
    return max(runs, key=lambda one: (one.started, str(one.folder)), default=None)


def find_started(top: Path, depth: int) -> Iterator[Newest]:
    """Runs and sweeps in ``top``; links are not followed."""
    try:
        entries = sorted(os.scandir(top), key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name: entry for entry in entries}
    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    for mark, several in ((SWEEP, True), (RUN, has_seeds(folders))):
        if mark in names:
            yield Newest(top, names[mark].stat(follow_symlinks=False).st_mtime, several)
            return
    for folder in folders if depth > 1 else ():
        if not (depth == DEPTH and folder.name in OTHERS):
            yield from find_started(Path(folder.path), depth - 1)


def has_seeds(folders: list[os.DirEntry[str]]) -> bool:
    return any(folder.name.isdigit() and Path(folder.path, RUN).exists() for folder in folders)


def is_several_runs(folder: Path) -> bool:
    """A sweep, or one configuration with several seeds."""
    return any(one.several and one.folder == folder for one in find_started(folder, 1))


def find_last_finished(folder: Path) -> tuple[Path | None, int]:
    """(of the runs in a sweep or of several seeds the one that finished last, how many have)."""
    ends = dict[Path, float]()
    for place in folder.rglob(RUN):
        summary = place.parent / "summary.json"
        try:
            if place.parent != folder and atomic_files.read_json(summary)["status"] == "finished":
                ends[place.parent] = summary.stat(follow_symlinks=False).st_mtime
        except (OSError, ValueError, LookupError, TypeError):
            continue
    ends = {run: when for run, when in ends.items() if not any(other.parent == run for other in ends)}
    return max(ends, key=lambda run: (ends[run], str(run)), default=None), len(ends)


def newest_folder(command: str, one: bool = True) -> Path:
    """What ``last`` means in a ``command`` such as ``pgrun-play``. Where the newest is several runs and the
    command takes ``one``, it is that which finished last.

    Raises ``InvalidCommand`` where there is no run, or none of several has finished.
    """
    newest = find_newest()
    if newest is None:
        refuse_gone_folder()
        raise InvalidCommand(
            f"no run below {TOP}/ in this folder",
            None,
            "train one, such as pgrun algo=ppo env=CartPole-v1, or name "
            f"a run directory: {command}{'' if command.endswith('=') else ' '}RUN_DIR",
        )
    folder, which = newest.folder, ""
    if newest.several and one:
        run, finished = find_last_finished(folder)
        if run is None:
            raise InvalidCommand(
                folder, None, "the newest is several runs, and none has finished", "name one of those in it"
            )
        folder, which = run, f", the last to finish of {finished}"
    say(f"{command.split()[0]}: the newest is {shorten_folder(folder)}{which}", error=True, tone=Tone.PLAIN)
    return folder


def replace_last(name: str, command: str, one: bool = True) -> str:
    """``name``, a folder as typed, or the newest run's where it is ``last``. Raises ``InvalidCommand``."""
    refuse_gone_folder(name)
    return str(newest_folder(command, one)) if name == LAST else name
