"""What the meter of the gradient's variance costs: the share of a run's own seconds that is spent in it.

    python benchmarks/meter_cost.py --repeats 3

Seconds inside the meter ÷ seconds of collecting, updating and logging of the same run, so that a machine that drifts between
runs does not matter. At its default cadence and at every update.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from support import steps_per_second

import pgrun.train

RUNS = {
    "ppo, default run": ["algo=ppo", "trainer.total_steps=100000"],
    "ppo, 4×128 recipe": ["experiment=recipe_ppo_4x128", "trainer.total_steps=100000"],
    "ppo, HalfCheetah 1×2048 recipe": ["experiment=recipe_ppo_halfcheetah", "trainer.total_steps=10240"],
    "a2c, a fifth of a default run": ["algo=a2c", "trainer.total_steps=100000"],
    "reinforce, default run": ["algo=reinforce", "trainer.total_steps=100000"],
    "reinforce, leave_one_out": ["algo=reinforce", "variance=leave_one_out", "trainer.total_steps=100000"],
}
CADENCES = {"default": "null", "every update": "1"}


def share(words: list[str], every: str) -> tuple[float, int]:
    """(seconds in the meter ÷ seconds of the run's loop, readings)."""
    spent: list[float] = []
    original = pgrun.train.measure

    def timed(*args):
        start = time.perf_counter()
        reading = original(*args)
        spent.append(time.perf_counter() - start)
        return reading

    pgrun.train.measure = timed
    try:
        speed = steps_per_second(*words, f"diagnostics.gradient_every={every}")
    finally:
        pgrun.train.measure = original
    steps = next(int(word.split("=")[1]) for word in words if word.startswith("trainer.total_steps"))
    return sum(spent) * speed / steps, len(spent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"{'run':<34}{'cadence':<14}{'readings':>9}{'share':>8}   (min … max)")
    for name, words in RUNS.items():
        for cadence, every in CADENCES.items():
            found = [share(words, every) for _ in range(repeats)]
            shares = [one for one, _ in found]
            spread = f"({min(shares):.1%} … {max(shares):.1%})"
            print(f"{name:<34}{cadence:<14}{found[0][1]:>9}{median(shares):>8.1%}   {spread}", flush=True)


if __name__ == "__main__":
    main()
