"""How near a run comes to the matrix products that its updates consist of.

    taskset -c 1 python benchmarks/gemm_limit.py            # ppo_4x128 on CartPole-v1, five repeats
    taskset -c 1 python benchmarks/gemm_limit.py --repeats 9

The products of all minibatches of an update, forward and backward, of policy and critic, are done by the BLAS
that the kernels call, on arrays that are there already: nothing else of the update, no rollout, no log. Their
steps per second are a limit that no code with this BLAS on this core passes. Both sides in turn.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from statistics import median

import numpy as np
from scipy.linalg.blas import sgemm
from support import settings_of, steps_per_second

from pgrun.kernels import jit  # noqa: F401 - which keeps the BLAS to one thread

STEPS = 500_000
RECIPE = "experiment=recipe_ppo_4x128"
OBSERVED, CHOICES = 4, 2  # of CartPole-v1
Product = tuple[np.ndarray, np.ndarray, np.ndarray, bool, bool]


def list_products(rows: int, sizes: tuple[int, ...]) -> list[Product]:
    """The operands of one minibatch's products through layers of these sizes, in column order: of every layer
    y = W x and ∂L/∂W = d xᵀ, and of all but the first ∂L/∂x = Wᵀ d.
    """

    def make(*shape: int) -> np.ndarray:
        return np.asfortranarray(np.random.default_rng(0).normal(size=shape), np.float32)

    products: list[Product] = []
    for layer, (size, outputs) in enumerate(pairwise(sizes)):
        w, x, d = make(outputs, size), make(size, rows), make(outputs, rows)
        products += [(w, x, make(outputs, rows), False, False), (d, x, make(outputs, size), False, True)]
        if layer > 0:
            products.append((w, d, make(size, rows), True, False))
    return products


def count_operations(products: list[Product]) -> int:
    """Multiplications and additions."""
    return sum(2 * c.size * (a.shape[0] if turned else a.shape[1]) for a, _, c, turned, _ in products)


def time_products(products: list[Product], times: int) -> float:
    """Seconds of doing them so many times."""
    begun = time.perf_counter()
    for _ in range(times):
        for a, b, c, turned_a, turned_b in products:
            sgemm(1.0, a, b, 0.0, c, trans_a=turned_a, trans_b=turned_b, overwrite_c=True)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    settings = settings_of(RECIPE)
    hidden = tuple(settings["network"]["hidden"])
    rollout = settings["env"]["num_envs"] * settings["sampler"]["steps"]
    steps = settings["algo"]["epochs"] * settings["algo"]["minibatches"]  # of policy and of critic, an update
    rows = rollout // settings["algo"]["minibatches"]
    products = [p for last in (CHOICES, 1) for p in list_products(rows, (OBSERVED, *hidden, last))]
    updates = STEPS // rollout
    time_products(products, steps)
    pairs = []
    for _ in range(repeats):
        limit = STEPS / time_products(products, steps * updates)
        pairs.append((steps_per_second(RECIPE, f"trainer.total_steps={STEPS}", "cores=1"), limit))
    shares = [ours / limit for ours, limit in pairs]
    rate = median(limit for _, limit in pairs) / rollout * steps * count_operations(products) / 1e9
    print(f"products alone  {median(limit for _, limit in pairs):>10,.0f} steps/s   {rate:.0f} GFLOP/s")
    print(f"the whole run   {median(ours for ours, _ in pairs):>10,.0f} steps/s")
    print(f"share           {median(shares):>10.2f}           ({min(shares):.2f} … {max(shares):.2f})")


if __name__ == "__main__":
    main()
