"""Environment steps per second beside Stable-Baselines3 and sb3-contrib: the same recipe, the same number of
updates, one thread, interleaved.

    pip install -c constraints.txt -e ".[bench]"
    python benchmarks/throughput.py            # every recipe, five repeats
    python benchmarks/throughput.py ppo_4x128 --repeats 3
    python benchmarks/throughput.py --jax      # the first recipe beside JAX too (extra ``bench-jax``)

Both sides learn; ours also logs every row to TensorBoard and CSV and measures the gradient's variance at
least 50 times. Set-up and evaluation are outside the clock of either side. Compare the ratio, not the
figures: machines differ and drift.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from support import steps_per_second

Peer = PPO | A2C | TRPO


def ours(recipe: str, steps: int, backend: str) -> float:
    return steps_per_second(
        f"experiment=recipe_{recipe}", f"trainer.total_steps={steps}", f"backend={backend}"
    )


def theirs(make: Callable[[], Peer], steps: int) -> float:
    """Steps per second of ``learn``, after the model is built."""
    torch.set_num_threads(1)
    model = make()
    start = time.perf_counter()
    model.learn(steps)
    return model.num_timesteps / (time.perf_counter() - start)


def ppo_4x128() -> PPO:
    return PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 4, seed=0),
        n_steps=128,
        batch_size=128,
        n_epochs=4,
        learning_rate=lambda left: 2.5e-4 * left,
        ent_coef=0.01,
        clip_range_vf=0.2,
        device="cpu",
    )


def a2c_8x5() -> A2C:
    return A2C("MlpPolicy", make_vec_env("CartPole-v1", 8, seed=0), n_steps=5, device="cpu")


def ppo_halfcheetah() -> PPO:
    envs = VecNormalize(make_vec_env("HalfCheetah-v5", 1, seed=0))
    return PPO("MlpPolicy", envs, n_steps=2048, batch_size=64, n_epochs=10, learning_rate=3e-4, device="cpu")


def trpo_2x1024() -> TRPO:
    envs = make_vec_env("CartPole-v1", 2, seed=0)
    return TRPO("MlpPolicy", envs, n_steps=1024, cg_max_steps=10, n_critic_updates=10, device="cpu")


def trpo_halfcheetah() -> TRPO:
    envs = VecNormalize(make_vec_env("HalfCheetah-v5", 1, seed=0))
    return TRPO("MlpPolicy", envs, n_steps=2048, n_critic_updates=20, device="cpu")


RECIPES = {  # (the peer, its steps, ours): ours are more, since a reading of the meter is one of 60 in a run
    "ppo_4x128": (ppo_4x128, 25_600, 1_000_000),
    "a2c_8x5": (a2c_8x5, 30_000, 500_000),
    "ppo_halfcheetah": (ppo_halfcheetah, 10_240, 102_400),
    "trpo_2x1024": (trpo_2x1024, 20_480, 409_600),
    "trpo_halfcheetah": (trpo_halfcheetah, 10_240, 102_400),
}


def compare_with_jax(repeats: int, backend: str) -> None:
    """The whole run of ppo_4x128, interleaved; JAX's compilation in a column of its own."""
    import jax_ppo

    steps = RECIPES["ppo_4x128"][2]
    compiled = jax_ppo.compile_seconds(steps)
    ours("ppo_4x128", 4096, backend)
    pairs = [
        (ours("ppo_4x128", steps, backend), jax_ppo.steps_per_second(steps, seed)) for seed in range(repeats)
    ]
    ratios = sorted(a / b for a, b in pairs)
    mine, peer = (median(side) for side in zip(*pairs, strict=True))
    print(f"{'recipe':<18}{'pgrun':>10}{'jax':>10}{'ratio':>8}{'jax compiles':>14}   (min … max)")
    print(
        f"{'ppo_4x128':<18}{mine:>10.0f}{peer:>10.0f}{median(ratios):>8.2f}{compiled:>12.1f} s"
        f"   ({ratios[0]:.2f} … {ratios[-1]:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), help=", ".join(RECIPES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backend", default="compiled", choices=("compiled", "torch"), help="of ours")
    parser.add_argument("--jax", action="store_true", help="ppo_4x128 beside JAX, 1e6 steps each")
    args = parser.parse_args()
    if args.jax:
        compare_with_jax(args.repeats, args.backend)
        return
    print(f"{'recipe':<18}{'pgrun':>10}{'sb3':>10}{'ratio':>8}   (min … max of the paired ratios)")
    for recipe in args.recipes:
        make, their_steps, our_steps = RECIPES[recipe]
        ours(recipe, 4096, args.backend)  # machine code is loaded, or made
        pairs = [
            (ours(recipe, our_steps, args.backend), theirs(make, their_steps)) for _ in range(args.repeats)
        ]
        ratios = sorted(a / b for a, b in pairs)
        mine, peer = (median(side) for side in zip(*pairs, strict=True))
        print(
            f"{recipe:<18}{mine:>10.0f}{peer:>10.0f}{median(ratios):>8.2f}   ({ratios[0]:.2f} … "
            f"{ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
