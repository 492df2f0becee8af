"""What the meter of the gradient's variance costs: the share of a run's own seconds that is spent in it.

    python benchmarks/meter_cost.py --repeats 3

Seconds inside the meter ÷ seconds of collecting, updating and logging of the same run, so that a machine that
drifts between runs does not matter. At its default cadence and at every update.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from support import steps_per_second

from pgrun.diagnostics.gradient_variance import GradientVarianceMeter
from pgrun.training import loop


def batches_of(rows: int) -> list[str]:
    """PPO on CartPole-v1 with 10 epochs of minibatches of 64 over batches of ``rows``."""
    sizes = [f"sampler.steps={rows // 8}", "env.num_envs=8", f"algo.minibatches={rows // 64}"]
    return ["algo=ppo", "tuned=none", *sizes, f"trainer.total_steps={max(20_000, 40 * rows)}"]


RUNS = {
    **{f"ppo, batches of {rows}": batches_of(rows) for rows in (64, 256, 1024, 4096)},
    "online_ac": ["algo=online_ac", "trainer.total_steps=20000"],
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
    spent, readings = 0.0, 0
    measure, choose = GradientVarianceMeter.measure, loop.choose_estimator

    def timed(function):
        def call(*args):
            nonlocal spent
            start = time.perf_counter()
            result = function(*args)
            spent += time.perf_counter() - start
            return result

        return call

    def count_readings(*args):
        nonlocal readings
        reading = timed(measure)(*args)
        readings += reading is not None
        return reading

    GradientVarianceMeter.measure, loop.choose_estimator = count_readings, timed(choose)
    try:
        speed = steps_per_second(*words, f"diagnostics.gradient_every={every}")
    finally:
        GradientVarianceMeter.measure, loop.choose_estimator = measure, choose
    steps = next(int(word.split("=")[1]) for word in words if word.startswith("trainer.total_steps"))
    return spent * speed / steps, readings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", default=list(RUNS), help="; ".join(RUNS))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{'run':<34}{'cadence':<14}{'readings':>9}{'share':>8}   (min … max)")
    for name in args.runs:
        for cadence, every in CADENCES.items():
            collected = [share(RUNS[name], every) for _ in range(args.repeats)]
            shares = [one for one, _ in collected]
            spread = f"({min(shares):.1%} … {max(shares):.1%})"
            print(f"{name:<34}{cadence:<14}{collected[0][1]:>9}{median(shares):>8.1%}   {spread}", flush=True)


if __name__ == "__main__":
    main()
