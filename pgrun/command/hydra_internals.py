"""Every use of Hydra's private modules: what to look at when Hydra changes."""

from __future__ import annotations

from argparse import ArgumentParser
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
    return get_args_parser()


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
