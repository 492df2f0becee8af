"""One job, as Hydra calls it: alone, or as one of a sweep that must go on whatever happens here."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from pgrun.command.app import PGRUN, App
from pgrun.errors import InvalidCommand
from pgrun.runs.outcome import run_and_record, write_record
from pgrun.terminal.cores import count_cores

if TYPE_CHECKING:
    from pgrun.terminal.signals import SignalFlag


def run_training_job(cfg: DictConfig) -> float:
    """Train; the final evaluation's mean return, for any Hydra sweeper to optimise.

    NaN for a sweep's failed job.
    """
    return run_job(cfg, PGRUN)


def run_job(cfg: DictConfig, app: App) -> float:
    """What the job's ``work`` returns, or returned before.

    Whatever happens in it is recorded, and a sweep goes on.
    """
    from pgrun.command.compose import to_plain_settings
    from pgrun.runs import seeds
    from pgrun.runs.job_status import read_result
    from pgrun.runs.parallel_seeds import run_seeds_side_by_side
    from pgrun.runs.stacked_seeds import run_stacked_seeds
    from pgrun.runs.workers import is_borrowed

    hydra: Any = HydraConfig.get()
    settings, in_sweep = to_plain_settings(cfg), hydra.mode == RunMode.MULTIRUN

    def once(settings: Mapping[str, Any], folder: Path) -> float:
        if (before := earlier_result(folder, app, in_sweep)) is not None:
            return before
        return (
            run_in_sweep(hydra, settings, folder, app) if in_sweep else run_and_record(settings, folder, app)
        )

    def several(settings: Mapping[str, Any], folder: Path) -> float:
        if (settings.get("trainer") or {}).get("stack_seeds"):
            return run_stacked_seeds(cfg, settings, folder, app, load_latest_checkpoint)
        if in_sweep or is_borrowed():
            return seeds.run_each_seed(cfg, settings, folder, app, once, pruning_rule(hydra))
        return run_seeds_side_by_side(hydra, cfg, settings, folder, app)

    folder = Path(hydra.runtime.output_dir)
    if not settings.get("seeds"):
        return once(settings, folder)
    before = earlier_result(folder, app, in_sweep)
    if before is not None:
        return before
    # here, outside of the runs' own processes, an exit is the launcher's: to queue the job again
    theirs = (SystemExit,) if in_sweep else ()
    value = run_and_record(settings, folder, app, several, in_sweep, theirs)
    if math.isnan(value) and not in_sweep:
        raise seeds.SeedFailed(read_result(folder, app)["error"])
    return value


def pruning_rule(hydra: Any) -> Callable[[Sequence[dict[str, Any]]], str | None]:
    """Why a job is not worth the rest of its seeds: in a search it may be hopeless."""
    from pgrun.command.search_settings import CHOICE
    from pgrun.runs.search.pruning import reason_to_prune

    if hydra.runtime.choices.get("hydra/sweeper") != CHOICE:
        return lambda runs: None
    return partial(reason_to_prune, Path(hydra.runtime.cwd, hydra.sweep.dir))


def earlier_result(folder: Path, app: App, in_sweep: bool) -> float | None:
    """The value of a job that was done before; NaN of one that failed, which a sweep
    tries again on request alone.
    """
    from pgrun.runs.job_status import read_result

    before = read_result(folder, app)
    if before["status"] in ("finished", "pruned"):
        done = app.value(before)
        return done
    return math.nan if in_sweep and before["status"] == "failed" else None


def run_in_sweep(hydra: DictConfig, settings: Mapping[str, Any], folder: Path, app: App) -> float:
    """Run the job in a process of its own, unless the sweep was told to stop."""
    from pgrun.runs.child_process import ChildJob, run_unless_stopped
    from pgrun.terminal.signals import Stopped, SweepStop

    sweep = Path(hydra.runtime.cwd, hydra.sweep.dir)
    value = run_unless_stopped(ChildJob.of(hydra, app, settings, folder, count_jobs_at_once(hydra)), sweep)
    stop = signal.getsignal(signal.SIGINT)
    if (
        isinstance(stop, SweepStop) and stop.number is not None
    ):  # in this process: spare Hydra composing the rest
        raise Stopped(stop.number)
    return value


def count_jobs_at_once(hydra: DictConfig) -> int:
    """Jobs of the sweep that run on this machine at the same time: joblib's ``n_jobs``, −1 for all cores."""
    asked = hydra.launcher.get("n_jobs") or 1
    return int(asked) if asked > 0 else count_cores()


def train_in(settings: Mapping[str, Any], folder: Path, saved: dict[str, Any] | None = None) -> float:
    """Signals are noted from here on: loading torch and compiling may take half a minute."""
    from pgrun.terminal.signals import noting_signals

    with noting_signals() as signals:
        return build_and_train(settings, folder, saved, signals)


def build_and_train(
    settings: Mapping[str, Any], folder: Path, saved: dict[str, Any] | None, signals: SignalFlag
) -> float:
    """``saved``: the state to go on from; without it the newest in the folder, if there is one."""
    from pgrun.runs.build_or_restore import build_or_restore, find_backend
    from pgrun.runs.run_summary import format_result
    from pgrun.terminal.printing import say, shorten_folder
    from pgrun.terminal.signals import Stopped
    from pgrun.training.identity import format_resume_command
    from pgrun.training.loop import train_run
    from pgrun.training.progress import telling_compilations

    # 1. what it starts from: nothing, or the newest checkpoint
    if settings["tuned"]:
        say(f"tuned settings from conf/{settings['tuned']}; tuned=none turns them off")
    saved = saved or load_latest_checkpoint(settings, folder)
    backend = find_backend(settings, folder, saved)
    with telling_compilations(backend, settings["logger"]["progress"]):
        # 2. its objects, and what its folder says of it
        run = build_or_restore(settings, folder, saved, backend)
        # 3. training, which a signal ends with a checkpoint
        try:
            summary = train_run(run, folder, saved, signals)
        except Stopped as stop:
            stop.hint = (
                f"saved at step {stop.env_steps} in {shorten_folder(folder)}; to go on: "
                f"{format_resume_command(settings, folder)}"
            )
            raise
    # 4. what came of it
    say(format_result(summary, folder))
    return read_run_objective(summary)


def load_latest_checkpoint(settings: Mapping[str, Any], folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint. Raises ``InvalidCommand`` where it is one of another configuration."""
    from pgrun.runs.job_status import describe_differences
    from pgrun.storage.checkpoint import Checkpoints
    from pgrun.terminal.printing import say
    from pgrun.training.identity import check_settings
    from pgrun.training.saver import refusing_bad_data

    try:
        state, problems = Checkpoints(folder / "checkpoints").load()
    except LookupError as error:
        if (folder / "checkpoints").exists():
            say(f"pgrun: starting anew: {error}", error=True)
        return None
    for problem in problems:
        say(f"pgrun: {problem}; going on from the one before", error=True)
    with refusing_bad_data(f"{folder}: its checkpoint makes no sense", state):
        changes = describe_differences(state["settings"], settings)
        if not changes:
            check_settings(state)
            say_changed_versions(state, folder)
    if changes:
        raise InvalidCommand(
            folder, None, f"was started with {changes}: its checkpoint is of another configuration"
        )
    return state


def say_changed_versions(state: Mapping[str, Any], folder: Path) -> None:
    """One line where the run goes on under other versions than those it was saved with."""
    from pgrun.storage.versions import changed_versions
    from pgrun.terminal.printing import say

    if changed := changed_versions(state["identity"]["versions"]):
        say(f"pgrun: {folder} was saved with {changed}: what follows may be rounded otherwise", error=True)


def read_run_objective(summary: Mapping[str, Any]) -> float:
    mean: float = summary["eval"]["return_mean"]
    return mean


def record_run_without_result(settings: Mapping[str, Any], folder: Path, status: str, error: str) -> None:
    """A summary of a run without a result."""
    seed = "seeds" if settings.get("seeds") else "seed"
    names = {"algo": "algo.name", "variance": "variance.name", "env": "env.id", seed: seed}
    write_record(folder / PGRUN.result, settings, names, status, error)
