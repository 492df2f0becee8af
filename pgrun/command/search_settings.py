"""``hydra.sweeper`` of a search, and whether a command asks for one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pgrun.command.overrides import Command
from pgrun.config.schema import NonNegativeInt, PositiveInt

CHOICE = "optuna"  # hydra/sweeper=optuna
FILE = "search.json"  # in the directory of a search


@dataclass(frozen=True)
class Search:
    """``n_jobs``: trials at once, proposed together.

    ``prune_after``: trials that are to finish before one is pruned. ``storage``: where trials are shared
    with other commands, or with Optuna's dashboard; without it a search is one command's own.
    """

    n_trials: PositiveInt = 20
    n_jobs: PositiveInt = 1
    sampler: Literal["tpe", "random"] = "tpe"
    seed: NonNegativeInt = 0
    pruner: Literal["median", "none"] = "median"
    prune_after: PositiveInt = 5
    storage: str | None = None  # a database's URL, or a journal file: several commands work on one study
    study: str | None = None  # its name there
    params: dict[str, Any] = field(default_factory=dict)  # parameters written in a file


def asks_for_search(command: Command) -> bool:
    return any(word.key == "hydra.sweeper" and word.value == CHOICE for word in command.words)


def holds_search(folder: Path) -> bool:
    return (folder / FILE).exists()
