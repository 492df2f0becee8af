"""PPO on CartPole on one CUDA card: environment steps per second, with and without graphs, and of several
seeds in one tensor program.

    python benchmarks/cuda_speed.py            # needs torch's CUDA build and a card, and no network
    python benchmarks/cuda_speed.py --smoke    # on the CPU, small: that it runs, and no figure

Each line of the first table is N environments × T steps a rollout, 4 epochs of 4 minibatches, constant
learning rate. A part is timed with the device idle before and after; logging and evaluation are outside.
"limit" is the faster side's share of the nearer of two bounds: the bytes that must be moved at least (each
row of the batch once an epoch, θ, its gradient and its moments once a step) over ``--bandwidth``, and the
operations, counted, one after the other at ``--launch`` microseconds each. Both are the card's: give yours.

The second table is S seeds × 4 environments × 128 steps (``trainer.stack_seeds=true``), with graphs: the
steps of all seeds together, and how often one seed's they are.
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
from pgrun.training.stacked.stack import Stack

SHAPES = [(4, 128), (16, 128), (64, 128), (256, 64), (1024, 32), (4096, 32)]
SEEDS, SEED_SHAPE = [1, 2, 8, 32, 128, 512], (4, 128)
EPOCHS, MINIBATCHES = 4, 4


class CountedOperations(TorchDispatchMode):
    """How many operations that compute something, which views do not, were dispatched inside it."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def make_settings(columns: int, steps: int, device: str, *more: str) -> dict[str, Any]:
    words = [f"env.num_envs={columns}", f"sampler.steps={steps}", f"device={device}", "env=CartPole-v1"]
    words += ["algo=ppo", "tuned=none", "optimizer.schedule=constant", "diagnostics.gradient_every=0"]
    words += [f"algo.epochs={EPOCHS}", f"algo.minibatches={MINIBATCHES}", "trainer.total_steps=1e9"]
    words += ["critic.optimizer.schedule=constant", "logger.every=1000000000", *more]
    return settings_of(*words)


def make_run(columns: int, steps: int, device: str) -> Run:
    return build_run(make_settings(columns, steps, device), "torch")


def make_stack(seeds: int, columns: int, steps: int, device: str) -> Stack:
    settings = make_settings(columns, steps, device, "trainer.stack_seeds=true")
    return Stack([build_run({**settings, "seed": seed}, "torch") for seed in range(seeds)])


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


def measure_stack(stack: Stack, device: str, seconds: float) -> float:
    """Environment steps of all seeds per second, after two updates that warm up and capture."""
    for _ in range(2):
        advance_stack(stack)
    wait_for(device)
    env_steps, start = 0, time.perf_counter()
    while not env_steps or time.perf_counter() - start < seconds:
        env_steps += advance_stack(stack)
    wait_for(device)
    return env_steps / (time.perf_counter() - start)


def advance_stack(stack: Stack) -> int:
    """A rollout and an update of every seed; the environment steps of them."""
    stack.collect()
    stack.update()
    return sum(rollout.live_rows for rollout, *_ in stack.collected)


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
    args.seconds = 0.0 if args.smoke else args.seconds
    print_shapes([(2, 8), (4, 4)] if args.smoke else SHAPES, device, args)
    print_seeds([1, 2] if args.smoke else SEEDS, (2, 8) if args.smoke else SEED_SHAPE, device, args.seconds)


def print_shapes(shapes: list[tuple[int, int]], device: str, args: Any) -> None:
    print(f"{'envs × steps':<16}{'eager':>12}{'graphs':>12}{'ratio':>8}{'limit':>8}")
    for columns, steps in shapes:
        speeds, launches = [], 0
        for capture.allowed in (False, True):
            run = make_run(columns, steps, device)
            if not capture.allowed:
                launches = count_launches(run)
            speeds.append(measure_speed(run, device, args.seconds))
        share = max(speeds) / bound_speed(run, columns, steps, launches, args)
        print(
            f"{f'{columns} × {steps}':<16}{speeds[0]:>12.0f}{speeds[1]:>12.0f}"
            f"{speeds[1] / max(speeds[0], 1e-9):>8.2f}{share:>8.1%}",
            flush=True,
        )


def print_seeds(seeds: list[int], shape: tuple[int, int], device: str, seconds: float) -> None:
    print(f"\n{'seeds':<16}{'in all':>12}{'of one':>8}")
    one = 0.0
    for count in seeds:
        speed = measure_stack(make_stack(count, *shape, device), device, seconds)
        one = one or speed / count
        print(f"{count:<16}{speed:>12.0f}{speed / one:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
