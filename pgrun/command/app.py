"""What differs between ``pgrun`` and ``pgrun-study``: everything else of a command line is read, composed and
refused alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class App:
    """A console command.

    Functions are named ``module:function``: importing them takes seconds that ``--help`` does without.
    """

    name: str  # as typed
    config: str  # conf/<config>.yaml
    check: str  # check(job, whole) -> list[Mistake]
    job: str  # job(cfg) -> float, which Hydra calls
    work: str  # work(settings, folder) -> float: what a job does
    value: str  # value(what the result file says) -> float: the same of a job that was done before
    record: str  # record(settings, folder, status, error): how a job ended that has no result
    table: str  # table(jobs) -> str at the end of a sweep
    help: str  # help(places) -> str
    result: str  # the file that says how a job ended
    files: tuple[str, ...]  # a folder with one of these holds a result already
    options: str | None = None  # a folder with more options, beside conf/
    instead: str | None = None  # instead(jobs) -> exit code, rather than running them
    page: str | None = None  # page(folder, folders of the jobs) -> file or None, at the end of a sweep
    hint: str = "look at it: tensorboard --logdir {}"

    def call(self, which: str) -> Callable[..., Any]:
        """The function that a field names."""
        module, _, function = getattr(self, which).partition(":")
        called: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return called


PGRUN = App(
    name="pgrun",
    config="config",
    check="pgrun.command.validate:find_problems",
    job="pgrun.runs.job:run_training_job",
    work="pgrun.runs.job:train_in",
    value="pgrun.runs.job:read_run_objective",
    record="pgrun.runs.job:record_run_without_result",
    table="pgrun.runs.sweep:format_sweep_table",
    help="pgrun.cli.help:format_pgrun_help",
    result="summary.json",
    files=("summary.json", "metrics.csv", "policy.safetensors", "checkpoints"),
    page="pgrun.analysis.compare.sweep_page:write_comparison_page",
)
