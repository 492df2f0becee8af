"""What it costs to be safe: checkpoints and the checks for NaN and infinity, as a share of a run's time.

    python benchmarks/safety_cost.py --repeats 5

A clock around every call that saves or checks, in the run itself: the difference of a run with and one
without drowns in what two equal runs differ by (10 % of 15 seconds on a shared machine). The clock's own time
is counted as theirs. Wall time of ``train``, its final evaluation included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from support import settings_of

import pgrun.training.loop as training
from pgrun.rollouts.trajectory import Arrays
from pgrun.storage.log import Log
from pgrun.training import nonfinite
from pgrun.training.build import build_run
from pgrun.training.saver import Saver

RUNS = {
    "ppo, default run": ["algo=ppo"],
    "a2c": ["algo=a2c", "trainer.total_steps=100000"],
    "online_ac": ["algo=online_ac", "trainer.total_steps=20000"],
    "off_policy_ac": ["algo=off_policy_ac", "trainer.total_steps=20000"],
}
CALLS = {
    "checkpoints": ((Saver, "save"), (Saver, "due"), (Log, "position")),
    "checks": ((Arrays, "finite"), (training, "watch_losses"), (nonfinite, "is_finite")),
}


@contextmanager
def timed(spent: Counter[str]) -> Iterator[None]:
    """Add the seconds in each kind of call to ``spent``; of calls within calls, those of the outer one."""
    inside = False

    def clocked(kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            nonlocal inside
            if inside:
                return call(*given, **named)
            inside, begun = True, time.perf_counter()
            try:
                return call(*given, **named)
            finally:
                spent[kind] += time.perf_counter() - begun
                inside = False

        return called

    with ExitStack() as stack:
        for kind, calls in CALLS.items():
            for owner, name in calls:
                stack.enter_context(patch.object(owner, name, clocked(kind, getattr(owner, name))))
        yield


def shares(settings: dict[str, Any]) -> Counter[str]:
    """Seconds of each kind ÷ those of a run."""
    run, spent = build_run(settings), Counter[str]()
    with tempfile.TemporaryDirectory(dir=".") as folder, timed(spent):
        begun = time.perf_counter()
        training.train_run(run, Path(folder))
        wall = time.perf_counter() - begun
    counts = Counter({kind: spent[kind] / wall for kind in CALLS})
    return counts + Counter({"both": sum(counts.values())})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", default=list(RUNS)[:1], help="; ".join(RUNS))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if unknown := [name for name in args.runs if name not in RUNS]:
        parser.error(f"{unknown[0]}: one of {', '.join(RUNS)}")
    print(f"{'run':<22}{'what':<14}{'share':>8}   (median of {args.repeats} runs)")
    for name in args.runs:
        collected = [shares(settings_of(*RUNS[name])) for _ in range(args.repeats)]
        for kind in (*CALLS, "both"):
            each = [share[kind] for share in collected]
            print(
                f"{name:<22}{kind:<14}{median(each):>8.2%}   ({min(each):.2%} … {max(each):.2%})", flush=True
            )


if __name__ == "__main__":
    main()
