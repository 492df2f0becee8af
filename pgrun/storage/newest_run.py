"""``last``: the newest run, or sweep, below outputs/, in place of its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgrun.errors import InvalidCommand
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


def newest_folder(command: str, one: bool = True) -> Path:
    """What ``last`` means in a ``command`` such as ``pgrun-play``. Raises ``InvalidCommand`` where there is
    no run, and where there are several and the command takes ``one``.
    """
    newest = find_newest()
    if newest is None:
        raise InvalidCommand(
            f"no run below {TOP}/ in this folder",
            None,
            "train one, such as pgrun algo=ppo env=CartPole-v1, or name "
            f"a run directory: {command}{'' if command.endswith('=') else ' '}RUN_DIR",
        )
    if newest.several and one:
        all_of_it = f", or all of it: pgrun -m … resume=auto hydra.sweep.dir={newest.folder}"
        raise InvalidCommand(
            newest.folder,
            None,
            "the newest is several runs",
            f"name one of those in it{all_of_it * command.endswith('resume=')}",
        )
    say(f"{command.split()[0]}: the newest is {shorten_folder(newest.folder)}", error=True, tone=Tone.PLAIN)
    return newest.folder


def replace_last(name: str, command: str, one: bool = True) -> str:
    """``name``, a folder as typed, or the newest run's where it is ``last``."""
    return str(newest_folder(command, one)) if name == LAST else name
