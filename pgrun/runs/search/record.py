"""search.json, in the directory of a search: what is searched and which trials were proposed, with all that
proposing depends on.

How a trial ended is said in its own directory. So a search that was killed anywhere goes on, and is the
search that never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgrun import atomic_files
from pgrun.command.search_settings import FILE, Search, holds_search
from pgrun.command.search_space import Space, Trial
from pgrun.errors import InvalidCommand
from pgrun.runs.job_status import describe_differences, read_json_object

FREE = ("n_trials", "n_jobs", "params", "storage")  # may change from one command to the next


@dataclass
class Record:
    engine: str
    sweeper: dict[str, Any]  # of hydra.sweeper, what trials depend on
    space: dict[str, str]  # as typed, by key
    settings: Mapping[str, Any]  # of the first corner
    trials: list[Trial | None] = field(default_factory=list)  # None: another command's, of a shared study

    def write(self, folder: Path) -> None:
        atomic_files.write_json(folder / FILE, asdict(self))


def new_record(search: Search, space: Space, settings: Mapping[str, Any]) -> Record:
    """The record of a search without trials."""
    from optuna import __version__

    sweeper = {k: value for k, value in asdict(search).items() if k not in FREE and value is not None}
    typed = {p.key: p.typed.partition("=")[2] for p in space.parameters}
    return Record(f"optuna {__version__}", sweeper, typed, settings)


def load_record(folder: Path, new: Record, space: Space) -> Record:
    """What was begun in the folder, ``new`` if nothing was.

    Raises ``InvalidCommand`` where that is another search, or makes no sense.
    """
    if not holds_search(folder):
        return new
    record = read_json_object(folder / FILE)
    for name in ("sweeper", "space", "settings"):
        if difference := describe_differences(record.get(name), getattr(new, name)):
            raise InvalidCommand(
                folder,
                None,
                f"holds a search with {difference}",
                "type the words of that search, of which only hydra.sweeper.n_trials may change, or "
                "choose another folder",
            )
    new.trials = check_trials(record.get("trials"), space, folder, shared="study" in new.sweeper)
    return new


def check_trials(recorded: Any, space: Space, folder: Path, shared: bool) -> list[Trial | None]:
    """The trials, taken as data from anywhere: every value must be one that the space has."""
    keys = {p.key: p for p in space.parameters}
    rows: Sequence[Any] = recorded if isinstance(recorded, list) else [None]
    for number, row in enumerate(rows):
        if row is None and shared:
            continue
        if not isinstance(row, dict) or row.keys() != keys.keys() or any(row[k] not in keys[k] for k in keys):
            raise InvalidCommand(
                folder / FILE, None, f"its trial {number} is none of this search", "choose another folder"
            )
    return list(rows)
