"""``seeds=[0,1,2]`` of one run, side by side: a process for each seed, as many at once as there are cores."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pgrun.command.app import App
from pgrun.runs.child_process import ChildJob, run_unless_stopped, start_server
from pgrun.runs.job_status import read_result
from pgrun.runs.seeds import conclude_seeds, resume_seeds_hint, seed_record, settings_with_seed
from pgrun.terminal.cores import count_cores
from pgrun.terminal.printing import say, shorten_folder
from pgrun.terminal.signals import STOP, Stopped, SweepStop, noting_signals


def run_seeds_side_by_side(
    hydra: DictConfig, cfg: DictConfig, settings: Mapping[str, Any], folder: Path, app: App
) -> float:
    """Run each seed that has no result yet in a folder below the job's, and write the job's summary.

    Each is the run that ``seed=…`` alone would be, bit for bit. The mean over seeds; NaN where one has no
    result. Raises ``Stopped``.
    """
    (folder / STOP).unlink(missing_ok=True)
    places = {seed: folder / str(seed) for seed in settings["seeds"]}
    to_run = [seed for seed, place in places.items() if read_result(place, app)["status"] != "finished"]
    at_once = min(count_processes(settings), len(to_run)) or 1
    say(f"{len(to_run)} seeds, {at_once} at a time, in {shorten_folder(folder)}")
    with noting_signals(SweepStop(folder)) as stop, ThreadPoolExecutor(at_once) as pool:
        start_server()
        begun = {}
        for seed in to_run:
            places[seed].mkdir(exist_ok=True)
            work = ChildJob.of(
                hydra, app, hide_progress(settings_with_seed(cfg, seed)), places[seed], at_once, quiet=True
            )
            begun[pool.submit(run_unless_stopped, work, folder)] = seed
        for number, ended in enumerate(as_completed(begun), 1):
            ended.result()
            result = read_result(places[begun[ended]], app)
            say(f"  {describe_seed(begun[ended], result)}  ({number} of {len(to_run)})")
    if stop.number is not None:
        stopped = Stopped(stop.number)
        stopped.hint = resume_seeds_hint(folder)
        raise stopped
    runs = [seed_record(seed, read_result(place, app)) for seed, place in places.items()]
    return conclude_seeds(settings, runs, folder, app)


def count_processes(settings: Mapping[str, Any]) -> int:
    """How many runs have cores of their own; on a GPU one at a time."""
    if settings["device"] != "cpu":
        return 1
    return max(1, count_cores() // int(settings["threads"]))


def hide_progress(settings: dict[str, Any]) -> dict[str, Any]:
    """Several bars would write over each other."""
    return {**settings, "logger": {**settings["logger"], "progress": False}}


def describe_seed(seed: int, result: Mapping[str, Any]) -> str:
    """``seed 3: 231.0 ± 12.1 over 20 episodes``."""
    if result["status"] != "finished":
        return f"seed {seed}: {result['status']}: {result['error']}"
    over = result["eval"]
    spread = f" ± {over['return_std']:.1f} over {over['episodes']} episodes" if "episodes" in over else ""
    return f"seed {seed}: {over['return_mean']:.1f}{spread}"
