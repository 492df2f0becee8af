"""Experiments one after the other, or in several processes: which outcomes changed."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pgrun.atomic_files import write_bytes
from pgrun.config.import_path import safe_import_path
from pgrun.tools.lab.catalogue import choose_experiments
from pgrun.tools.lab.experiment import Experiment
from pgrun.tools.lab.run import run_experiment


def run_experiments(
    experiments: Sequence[Experiment], folder: Path, jobs: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, result) of each as it is finished, in the order of the book; one that broke has an ``error``."""
    work = [(e.name, folder / e.name) for e in experiments]
    if jobs == 1 or len(work) == 1:
        yield from map(try_experiment, work)
        return
    spawning = get_context("spawn")  # torch does not survive a fork
    with safe_import_path(), ProcessPoolExecutor(jobs, spawning) as pool:
        yield from pool.map(try_experiment, work)


def try_experiment(work: tuple[str, Path]) -> tuple[str, dict[str, Any]]:
    """Whatever happens in one, the others go on."""
    name, folder = work
    try:
        return name, run_experiment(choose_experiments([name])[0], folder)
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "error.txt", traceback.format_exc().encode())
        return name, {"error": f"{type(error).__name__}: {error}".splitlines()[0], "seconds": 0.0}


def check_experiments(experiments: Sequence[Experiment], folder: Path, jobs: int) -> int:
    """Prints a line for each experiment, more where something changed; the number of those that did."""
    changed, spent = 0, 0.0
    for name, result in run_experiments(experiments, folder, jobs):
        changes = result.get("changes", [f"it broke: {result.get('error')}"])
        changed += bool(changes)
        spent += result["seconds"]
        state = "CHANGED" if changes else "as expected"
        count = len(result.get("outcomes", ()))
        print(f"  {state:<12} {name:<24} {count:>3} outcomes {result['seconds']:>7.1f} s", flush=True)
        for line in changes:
            print(f"               {line}", flush=True)
    total = f"{len(experiments)} experiments, {spent:.0f} s of work"
    print(f"\n{total}: {f'{changed} changed' if changed else 'all as expected'}")
    return changed
