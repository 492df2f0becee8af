"""What the meter of the gradient's variance costs: steps per second with it off, at its default cadence, and at every update.

    python benchmarks/meter_cost.py --repeats 5

Interleaved runs in one process; the share is 1 − (steps/s with the meter)/(steps/s without), pair by pair.
"""

from __future__ import annotations

import argparse
from statistics import median

from support import steps_per_second

RUNS = {
    "ppo, default run": ["algo=ppo", "trainer.total_steps=100000"],
    "ppo, 4×128 recipe": ["experiment=recipe_ppo_4x128", "trainer.total_steps=50000"],
    "a2c, default run": ["algo=a2c", "trainer.total_steps=100000"],
    "reinforce, default run": ["algo=reinforce", "trainer.total_steps=100000"],
    "reinforce, leave_one_out": ["algo=reinforce", "variance=leave_one_out", "trainer.total_steps=100000"],
}
CADENCES = {"default": "null", "every update": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{'run':<28}{'cadence':<16}{'share of the time':>18}   (min … max)")
    for name, words in RUNS.items():
        shares: dict[str, list[float]] = {cadence: [] for cadence in CADENCES}
        for _ in range(repeats):
            off = steps_per_second(*words, "diagnostics.gradient_every=0")
            for cadence, every in CADENCES.items():
                on = steps_per_second(*words, f"diagnostics.gradient_every={every}")
                shares[cadence].append(1 - on / off)
        for cadence, found in shares.items():
            spread = f"({min(found):.1%} … {max(found):.1%})"
            print(f"{name:<28}{cadence:<16}{median(found):>18.1%}   {spread}", flush=True)


if __name__ == "__main__":
    main()
