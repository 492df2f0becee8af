"""A sweep's jobs, and running them on configurations that are composed already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


def split_sweep_words(overrides: list[Override]) -> list[list[str]]:
    """The words of each job of a sweep, in the order in which Hydra runs them. Raises ``HydraException``."""
    batches = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return [[str(text) for text in words] for words in batches[0]]


def run_composed_job(cfg: DictConfig, folder: Path, task: TaskFunction) -> None:
    """Run one job as ``hydra.main`` does, on a configuration that is composed already.

    ``hydra.main`` would compose it twice more, half a second. cfg: with its hydra section. Raises what
    ``task`` raises.
    """
    with open_dict(cfg):
        cfg.hydra.mode = RunMode.RUN
        cfg.hydra.run.dir = str(folder)
    raise_failure(run_job(task, cfg, "hydra.run.dir", None, make_context()))


def make_context() -> HydraContext:
    """What a job is run in: nobody's callbacks, and nothing that composes."""
    return HydraContext(config_loader=cast(ConfigLoader, None), callbacks=cast(Any, Callbacks()))


def raise_failure(done: JobReturn) -> None:
    """What the task raised, without Hydra's own words on it."""
    if done.status == JobStatus.FAILED:
        raise cast(Exception, done._return_value)


def run_composed_sweep(
    sweep: Path,
    typed: dict[str, list[str]],
    folders: Sequence[Path],
    compose_job: Callable[[int], DictConfig],
    task: TaskFunction,
) -> None:
    """Run jobs in turn as Hydra's basic sweeper and launcher do, on configurations composed already.

    Those compose each job twice more. typed: the words of the whole sweep, which multirun.yaml keeps.
    folders: one for each job, below ``sweep``. compose_job(number): its configuration, with its hydra
    section. Raises what ``task`` raises, once all have been run.
    """
    log, first, ended = logging.getLogger("hydra"), compose_job(0), []
    whole = first.copy()
    with open_dict(whole):
        whole.hydra.mode = RunMode.MULTIRUN
        whole.hydra.overrides.update(typed)
    OmegaConf.save(whole, sweep / "multirun.yaml")
    configure_log(first.hydra.hydra_logging, first.hydra.verbose)
    log.info(f"Launching {len(folders)} jobs locally")
    for number, folder in enumerate(folders):
        cfg = compose_job(number)
        log.info(f"\t#{number} : {' '.join(cfg.hydra.overrides.task)}")
        with open_dict(cfg):
            cfg.hydra.mode = RunMode.MULTIRUN
            cfg.hydra.sweep.dir, cfg.hydra.sweep.subdir = str(sweep), str(folder.relative_to(sweep))
        done = run_job(task, cfg, "hydra.sweep.dir", "hydra.sweep.subdir", make_context())
        ended += [done] if done.status == JobStatus.FAILED else []
        configure_log(first.hydra.hydra_logging, first.hydra.verbose)
    for done in ended:
        raise_failure(done)
