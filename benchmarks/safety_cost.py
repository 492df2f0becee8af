"""What it costs to be safe: checkpoints and the checks for NaN and infinity, as a share of a run's time.

    python benchmarks/safety_cost.py --repeats 7

The same run with both and with neither, one after the other in this process, in alternating order; the ratio of each pair, so
that a machine that drifts does not matter, and their median. Wall time of ``train``, evaluation of one episode included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from support import settings_of

import pgrun.store.saving as saving
import pgrun.tracks as tracks
import pgrun.train as training
from pgrun.build import build

RUNS = {
    "ppo, default run": ["algo=ppo", "trainer.total_steps=100000"],
    "a2c": ["algo=a2c", "trainer.total_steps=100000"],
    "online_ac": ["algo=online_ac", "trainer.total_steps=20000"],
    "off_policy_ac": ["algo=off_policy_ac", "trainer.total_steps=20000"],
}


class Unchecked:
    """NumPy as ``tracks`` sees it where no observation or reward is ever wrong."""

    isfinite = abs = staticmethod(lambda _x: np.ones(1))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def nothing(*_given: Any, **_more: Any) -> None:
    pass


@contextmanager
def without(checkpoints: bool, checks: bool) -> Iterator[None]:
    """Leave out what is said."""
    with ExitStack() as stack:
        if checkpoints:
            stack.enter_context(patch.object(saving.Saver, "save", nothing))
            stack.enter_context(patch.object(saving.Saver, "due", lambda *_: False))
        if checks:
            stack.enter_context(patch.object(training, "watching", lambda *_: nullcontext()))
            stack.enter_context(patch.object(training, "watch_losses", nothing))
            stack.enter_context(patch.object(saving, "watch_state", nothing))
            stack.enter_context(patch.object(tracks, "np", Unchecked()))
        yield


def seconds(settings: dict[str, Any]) -> float:
    run = build(settings)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        training.train(run, Path(folder))
        return time.perf_counter() - begun


def ratios(settings: dict[str, Any], repeats: int, checkpoints: bool, checks: bool) -> list[float]:
    """Seconds with everything ÷ seconds without what is said, of each pair."""
    found = []
    for k in range(repeats):
        took = {}
        for left_out in (False, True) if k % 2 else (True, False):
            with without(checkpoints and left_out, checks and left_out):
                took[left_out] = seconds(settings)
        found.append(took[False] / took[True])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", default=list(RUNS)[:1], help="; ".join(RUNS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, help="of each run, instead of its own")
    args = parser.parse_args()
    if unknown := [name for name in args.runs if name not in RUNS]:
        parser.error(f"{unknown[0]}: one of {', '.join(RUNS)}")
    parts = {"both": (True, True), "checkpoints": (True, False), "checks": (False, True)}
    print(f"{'run':<22}{'what':<14}{'cost':>8}   (of {args.repeats} pairs)")
    for name in args.runs:
        settings = settings_of(*RUNS[name])
        settings["trainer"]["total_steps"] = args.steps or settings["trainer"]["total_steps"]
        for what, (checkpoints, checks) in parts.items():
            found = ratios(settings, args.repeats, checkpoints, checks)
            spread = f"({min(found) - 1:+.1%} … {max(found) - 1:+.1%})"
            print(f"{name:<22}{what:<14}{median(found) - 1:>+8.1%}   {spread}", flush=True)


if __name__ == "__main__":
    main()
