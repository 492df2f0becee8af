"""``seeds=[0,1,2] trainer.stack_seeds=true``: all runs in this process, in one tensor program.

Each has a thread and a folder of its own; one thread runs at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from pgrun.command.app import App
from pgrun.runs.job_status import read_result
from pgrun.runs.parallel_seeds import describe_seed, hide_progress
from pgrun.runs.seeds import conclude_seeds, resume_seeds_hint, seed_record, settings_with_seed
from pgrun.terminal.printing import say, shorten_folder
from pgrun.terminal.signals import SignalFlag, Stopped, noting_signals

if TYPE_CHECKING:
    from pgrun.training.stacked.stack import Seats


Loaded = Callable[[Mapping[str, Any], Path], "dict[str, Any] | None"]  # the newest checkpoint of a folder


def run_stacked_seeds(
    cfg: DictConfig, settings: Mapping[str, Any], folder: Path, app: App, load: Loaded
) -> float:
    """Run each seed that has no result yet in a folder below the job's, and write the job's summary.

    Each is the run that ``seed=…`` alone would be in a tensor program, to rounding. The mean over seeds; NaN
    where one has no result. Raises ``Stopped``.
    """
    from pgrun.training.stacked.stack import Seats

    places = {seed: folder / str(seed) for seed in settings["seeds"]}
    to_run = [seed for seed, place in places.items() if read_result(place, app)["status"] != "finished"]
    say(f"{len(to_run)} seeds in one tensor program, in {shorten_folder(folder)}")
    seats = Seats(len(to_run))
    with noting_signals() as stop:
        threads = []
        for seat, seed in enumerate(to_run):
            places[seed].mkdir(exist_ok=True)
            own = hide_progress(settings_with_seed(cfg, seed))
            given = (seats, seat, own, places[seed], app, load, stop)
            threads.append(threading.Thread(target=train_in_seat, args=given, name=f"seed {seed}"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if stop.number is not None:
        stopped = Stopped(stop.number)
        stopped.hint = resume_seeds_hint(folder)
        raise stopped
    for seed in to_run:
        say(f"  {describe_seed(seed, read_result(places[seed], app))}")
    runs = [seed_record(seed, read_result(place, app)) for seed, place in places.items()]
    return conclude_seeds(settings, runs, folder, app)


def train_in_seat(
    seats: Seats,
    seat: int,
    settings: Mapping[str, Any],
    folder: Path,
    app: App,
    load: Loaded,
    stop: SignalFlag,
) -> None:
    """One seed, from the start or from its newest checkpoint; how it ended is said in its folder."""
    from pgrun.runs.build_or_restore import build_or_restore, find_backend
    from pgrun.runs.outcome import run_and_record
    from pgrun.training.loop import train_run

    def train(settings: Mapping[str, Any], folder: Path) -> float:
        saved = load(settings, folder)
        backend = find_backend(settings, folder, saved)
        run = seats.join(seat, build_or_restore(settings, folder, saved, backend))
        value: float = app.value(train_run(run, folder, saved, stop))
        return value

    with seats.lockstep.taking_turns(), suppress(KeyboardInterrupt):  # recorded, and raised by the job
        run_and_record(settings, folder, app, train, in_sweep=True)
