"""One job, as Hydra calls it: alone, or as one of a sweep that must go on whatever happens here."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pgrun.errors import EnvironmentFault, Refused

log = logging.getLogger(__name__)


def job(cfg: DictConfig) -> float:
    """Train; the final evaluation's mean return, for any Hydra sweeper to optimise. NaN for a sweep's failed job."""
    return guarded(cfg, train_in, record)


def guarded(
    cfg: DictConfig,
    work: Callable[[DictConfig, Path], float],
    record: Callable[[DictConfig, Path, str, str], None],
) -> float:
    """What ``work`` returns. Whatever happens in it is recorded, and a sweep goes on."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    return recorded(cfg, folder, work, record, hydra.mode == RunMode.MULTIRUN)


def recorded(
    cfg: DictConfig,
    folder: Path,
    work: Callable[[DictConfig, Path], float],
    record: Callable[[DictConfig, Path, str, str], None],
    in_sweep: bool,
) -> float:
    """The same where Hydra does not run."""
    try:
        return work(cfg, folder)
    except KeyboardInterrupt as stop:
        name = getattr(stop, "name", "SIGINT")
        record(cfg, folder, "interrupted", "stopped by Ctrl-C" if name == "SIGINT" else f"stopped by {name}")
        raise
    except BaseException as error:
        record(cfg, folder, "failed", one_line(error))
        if in_sweep:
            known = isinstance(error, Refused | EnvironmentFault)
            log.error("the job in %s failed: %s", folder, one_line(error), exc_info=not known)
            return math.nan
        if isinstance(error, SystemExit):  # a run that was left is no finished run, whatever code it names
            raise RuntimeError(one_line(error)) from error
        raise


def train_in(cfg: DictConfig, folder: Path, saved: dict[str, Any] | None = None) -> float:
    from pgrun.build import build
    from pgrun.compose import plain
    from pgrun.report import describe
    from pgrun.train import train

    settings = plain(cfg)
    if settings["tuned"]:
        print(f"tuned settings from conf/{settings['tuned']}; tuned=none turns them off")
    summary = train(build(settings), folder, saved)
    print(describe(summary, folder))
    return summary["eval"]["return_mean"]


def record(cfg: DictConfig, folder: Path, status: str, error: str) -> None:
    """A summary of a run without a result."""
    from pgrun.whole import write_json

    names = {"algo": "algo.name", "variance": "variance.name", "env": "env.id", "seed": "seed"}
    settings = {name: OmegaConf.select(cfg, key) for name, key in names.items()}
    try:
        write_json(folder / "summary.json", {"status": status, **settings, "error": error})
    except OSError as unwritable:
        log.error("no summary in %s: %s", folder, unwritable)


def one_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"something in the run called sys.exit({error.code!r})"
    text = str(error) if isinstance(error, Refused | EnvironmentFault) else f"{type(error).__name__}: {error}"
    return text.strip().rstrip(":").splitlines()[0]
