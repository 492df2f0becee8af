"""How speed and memory go with the number of environments and the width of the networks.

    python benchmarks/scale.py                 # PPO on CartPole-v1, one thread, both backends, one run each
    python benchmarks/scale.py --steps 50000

Each run is a process of its own. Memory is its peak resident size; what torch and numba take by themselves is
in it. Speeds leave set-up and evaluation out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from typing import Any

from support import steps_per_second

ENVS = (1, 4, 16, 64, 256, 1024)
WIDTHS = (16, 64, 128, 256, 512)
USUAL = "experiment=recipe_ppo_4x128"


def measure_run(words: tuple[str, ...]) -> tuple[float, float]:
    """(steps per second, peak memory in MB) of one run in this process."""
    speed = steps_per_second(*words)
    return speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KB


def measure_apart(*words: str) -> tuple[float, float]:
    """The same in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result: tuple[float, float] = pool.apply(measure_run, (words,))
    return result


def print_table(title: str, cases: dict[Any, tuple[str, ...]]) -> None:
    print(f"{title:<18}{'compiled':>10}{'torch':>10}{'ratio':>8}{'MB':>8}{'MB torch':>10}")
    for name, words in cases.items():
        (fast, small), (slow, large) = (
            measure_apart(USUAL, *words, f"backend={backend}") for backend in ("compiled", "torch")
        )
        print(
            f"{name:<18}{fast:>10.0f}{slow:>10.0f}{fast / slow:>8.1f}{small:>8.0f}{large:>10.0f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=30_000)
    args = parser.parse_args()
    envs = {n: (f"env.num_envs={n}", f"trainer.total_steps={max(args.steps, 512 * n)}") for n in ENVS}
    print_table("environments", envs)
    print()
    widths = {n: (f"network.hidden=[{n},{n}]", f"trainer.total_steps={args.steps}") for n in WIDTHS}
    print_table("units of a layer", widths)


if __name__ == "__main__":
    main()
