"""One job, as Hydra calls it: alone, or as one of a sweep that must go on whatever happens here."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

log = logging.getLogger(__name__)


def job(cfg: DictConfig) -> float:
    """Train; the final evaluation's mean return, for any Hydra sweeper to optimise."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode == RunMode.MULTIRUN:
        return isolated(cfg, folder)
    try:
        return train_in(cfg, folder)
    except BaseException as error:
        record_failure(folder, error)
        raise


def isolated(cfg: DictConfig, folder: Path) -> float:
    """Any failure is written down and logged, ``sys.exit`` included, and the sweep goes on; NaN stands for the result."""
    try:
        return train_in(cfg, folder)
    except KeyboardInterrupt as error:
        record_failure(folder, error)
        raise
    except BaseException as error:
        log.exception("the job in %s failed", folder)
        record_failure(folder, error)
        return math.nan


def train_in(cfg: DictConfig, folder: Path) -> float:
    from pgrun.build import build
    from pgrun.compose import plain
    from pgrun.report import describe
    from pgrun.train import train

    settings = plain(cfg)
    if settings["tuned"]:
        print(f"tuned settings from conf/{settings['tuned']}; tuned=none turns them off")
    summary = train(build(settings), folder)
    print(describe(summary, folder))
    return summary["eval"]["return_mean"]


def record_failure(folder: Path, error: BaseException) -> None:
    from pgrun.log import write_json

    text = f"{type(error).__name__}: {error}".strip().rstrip(":")
    write_json(folder / "summary.json", {"status": "failed", "error": text.splitlines()[0]})
