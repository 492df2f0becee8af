"""What differs between ``pgrun`` and ``pgrun-study``: everything else of a command line is read, composed and
refused alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pgrun.errors import Mistake

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Entry(Generic[P, R]):
    """A function ``module:name``, imported when it is called: it takes seconds that ``--help`` has not.

    mypy holds the calls to the types in ``App``, a test (command/test_app.py) the functions.
    """

    name: str

    def load(self) -> Callable[P, R]:
        module, _, function = self.name.partition(":")
        loaded: Callable[P, R] = getattr(importlib.import_module(module), function)
        return loaded

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.load()(*args, **kwargs)


@dataclass(frozen=True)
class App:
    """A console command. ``Any`` stands for a ``Job``, which knows its command."""

    name: str  # as typed
    config: str  # conf/<config>.yaml
    check: Entry[[Any, bool], list[Mistake]]  # what is wrong with a job, with the whole of it or its words
    job: Entry[[DictConfig], float]  # what Hydra calls
    work: Entry[[Mapping[str, Any], Path], float]  # what a job does: its settings, its folder
    value: Entry[[Mapping[str, Any]], float]  # the same of a job that was done before, by its result file
    record: Entry[
        [Mapping[str, Any], Path, str, str], None
    ]  # how a job ended that has no result: status, error
    table: Entry[[Sequence[dict[str, Any]]], str]  # of the jobs, at the end of a sweep
    help: Entry[[list[Path]], str]  # of the configuration's folders
    result: str  # the file that says how a job ended
    files: tuple[str, ...]  # a folder with one of these holds a result already
    options: str | None = None  # a folder with more options, beside conf/
    instead: Entry[[list[Any]], int] | None = None  # rather than running the jobs; the exit code
    page: Entry[[Path, Sequence[Path]], Path | None] | None = None  # of a sweep's folder and its jobs'
    hint: str = "look at it: tensorboard --logdir {}"


PGRUN = App(
    name="pgrun",
    config="config",
    check=Entry("pgrun.command.validate:find_problems"),
    job=Entry("pgrun.runs.job:run_training_job"),
    work=Entry("pgrun.runs.job:train_in"),
    value=Entry("pgrun.runs.job:read_run_objective"),
    record=Entry("pgrun.runs.job:record_run_without_result"),
    table=Entry("pgrun.runs.sweep:format_sweep_table"),
    help=Entry("pgrun.cli.help:format_pgrun_help"),
    result="summary.json",
    files=("summary.json", "metrics.csv", "policy.safetensors", "checkpoints"),
    page=Entry("pgrun.analysis.compare.sweep_page:write_comparison_page"),
)
