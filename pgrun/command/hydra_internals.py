"""Every use of Hydra's private modules: what to look at when Hydra changes."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobStatus, run_job
from hydra.plugins.config_source import ConfigSource
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, open_dict


def build_flag_parser() -> ArgumentParser:
    """The parser of Hydra's own flags, ``--cfg`` and the like."""
    with accepting_lazy_help():
        return get_args_parser()


@contextmanager
def accepting_lazy_help() -> Iterator[None]:
    """Let Hydra build its parser under Python 3.14, whose argparse looks at each help text as it is added.

    Hydra 1.3 gives one that is no string yet, an object that shows itself as one when it is printed; argparse
    calls that badly formed. Strings are looked at as ever, and before 3.14 there is nothing to do.
    """
    container = argparse._ActionsContainer
    check = getattr(container, "_check_help", None)
    if check is None:
        yield
        return

    def check_strings(self: argparse._ActionsContainer, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(self, action)

    container._check_help = check_strings  # type: ignore[attr-defined]
    try:
        yield
    finally:
        container._check_help = check  # type: ignore[attr-defined]


def split_sweep_words(overrides: list[Override]) -> list[list[str]]:
    """The words of each job of a sweep, in the order in which Hydra runs them. Raises ``HydraException``."""
    batches = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return [[str(text) for text in words] for words in batches[0]]


def open_config_source(path: str) -> ConfigSource:
    """What ``hydra.searchpath`` names: a folder, or ``scheme://place``."""
    scheme = path.rpartition("://")[0] or "file"
    return SourcesRegistry.instance().resolve(scheme)("hydra.searchpath", path)


def run_composed_job(cfg: DictConfig, folder: Path, task: TaskFunction) -> None:
    """Run one job as ``hydra.main`` does, on a configuration that is composed already.

    ``hydra.main`` would compose it twice more, half a second. cfg: with its hydra section. Raises what
    ``task`` raises.
    """
    with open_dict(cfg):
        cfg.hydra.mode = RunMode.RUN
        cfg.hydra.run.dir = str(folder)
    context = HydraContext(config_loader=cast(ConfigLoader, None), callbacks=cast(Any, Callbacks()))
    done = run_job(task, cfg, "hydra.run.dir", None, context)
    if done.status == JobStatus.FAILED:
        raise cast(Exception, done._return_value)  # without Hydra's own words on it
