"""PPO on CartPole on one CUDA card: environment steps per second, with and without graphs.

    python benchmarks/cuda_speed.py            # needs torch's CUDA build and a card, and no network
    python benchmarks/cuda_speed.py --smoke    # on the CPU, small: that it runs, and no figure

Each line is N environments × T steps a rollout, 4 epochs of 4 minibatches, constant learning rate. A part is
timed with the device idle before and after; logging and evaluation are outside. "limit" is the faster side's
share of the nearer of two bounds: the bytes that must be moved at least (each row of the batch once an epoch,
θ, its gradient and its moments once a step) over ``--bandwidth``, and the operations, counted, one after the
other at ``--launch`` microseconds each. Both are the card's: give yours.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from support import settings_of
from torch.utils._python_dispatch import TorchDispatchMode

from pgrun.rollouts import capture
from pgrun.training.build import Run, build_run
from pgrun.training.counters import Clock, Counters
from pgrun.training.loop import collect_and_update, read_check

SHAPES = [(4, 128), (16, 128), (64, 128), (256, 64), (1024, 32), (4096, 32)]
EPOCHS, MINIBATCHES = 4, 4


class CountedOperations(TorchDispatchMode):
    """How many operations that compute something, which views do not, were dispatched inside it."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def make_run(columns: int, steps: int, device: str) -> Run:
    words = [f"env.num_envs={columns}", f"sampler.steps={steps}", f"device={device}", "env=CartPole-v1"]
    words += ["algo=ppo", "tuned=none", "optimizer.schedule=constant", "diagnostics.gradient_every=0"]
    words += [f"algo.epochs={EPOCHS}", f"algo.minibatches={MINIBATCHES}", "trainer.total_steps=1e9"]
    return build_run(settings_of(*words, "logger.every=1000000000"), "torch")


def wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure_speed(run: Run, device: str, seconds: float) -> float:
    """Environment steps per second, after two updates that warm up and capture."""
    counters, clock = Counters(updates=1), Clock()
    for _ in range(2):
        collect_and_update(run, counters, clock)
    wait_for(device)
    before, start = counters.env_steps, time.perf_counter()
    while time.perf_counter() - start < seconds:
        collect_and_update(run, counters, clock)
    read_check(run)
    wait_for(device)
    return (counters.env_steps - before) / (time.perf_counter() - start)


def count_launches(run: Run) -> int:
    """The operations of one rollout and its update, which is not captured."""
    with CountedOperations() as counted:
        collect_and_update(run, Counters(updates=1), Clock())
    return counted.count


def bound_speed(run: Run, columns: int, steps: int, launches: int, args: Any) -> float:
    """The steps per second that neither bandwidth nor launches would let it pass."""
    rows, numbers = columns * steps, run.policy.theta.numel()
    moved = 4 * (EPOCHS * rows * 12 + EPOCHS * MINIBATCHES * 2 * 8 * numbers + rows * 20)
    return rows / max(moved / (args.bandwidth * 1e9), launches * args.launch * 1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="on the CPU, two small shapes")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure")
    parser.add_argument("--bandwidth", type=float, default=4800.0, help="GB/s of the card's memory")
    parser.add_argument("--launch", type=float, default=2.0, help="µs for one kernel of a graph")
    args = parser.parse_args()
    device = "cpu" if args.smoke else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        parser.error(
            f"torch {torch.__version__} finds no CUDA device; take --smoke, or torch's CUDA build and a card"
        )
    where = "the CPU: no figure" if args.smoke else torch.cuda.get_device_name()
    print(f"torch {torch.__version__} on {where}")
    print(f"{'envs × steps':<16}{'eager':>12}{'graphs':>12}{'ratio':>8}{'limit':>8}")
    for columns, steps in [(2, 8), (4, 4)] if args.smoke else SHAPES:
        speeds, launches = [], 0
        for capture.allowed in (False, True):
            run = make_run(columns, steps, device)
            if not capture.allowed:
                launches = count_launches(run)
            speeds.append(measure_speed(run, device, 0.0 if args.smoke else args.seconds))
        share = max(speeds) / bound_speed(run, columns, steps, launches, args)
        print(
            f"{f'{columns} × {steps}':<16}{speeds[0]:>12.0f}{speeds[1]:>12.0f}"
            f"{speeds[1] / max(speeds[0], 1e-9):>8.2f}{share:>8.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
