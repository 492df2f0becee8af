"""TRPO beside sb3-contrib with the same settings, every seed: the table of docs/results.md.

    pip install -c constraints.txt -e ".[bench]"
    python benchmarks/trpo_peer.py HalfCheetah-v5                 # 3 seeds × 100 000 steps a side: 15 minutes
    python benchmarks/trpo_peer.py Hopper-v5 --sides pgrun,peer   # some of the sides

sb3-contrib takes the mean of the Gaussian's KL over the A action dimensions too. Its radius δ and its damping
are therefore Aδ and A·damping of the KL itself: the side ``pgrun_times_A``. ``pgrun`` takes the same numbers
as they are. Both start from σ = 1 and give Adam ε = 1e-5, as sb3-contrib does; ours are e^−0.5 and 1e-8 else.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize
from support import build_run, settings_of, torch, train_run

DELTA, DAMPING, EPISODES = 0.01, 0.1, 5  # sb3-contrib's defaults; evaluation episodes, deterministic policy
SAME = (
    *("algo=trpo", "tuned=none", "algo.iterations=15", "env.num_envs=1", "sampler.steps=2048"),
    *("critic.epochs=10", "critic.minibatches=16", "state_norm=true", "reward_scaling=true"),
    *("network.log_std=0", "critic.optimizer.eps=1e-5"),
    "diagnostics.gradient_every=0",
)

Returns = tuple[float, float]  # mean and standard deviation over the evaluation's episodes


def ours(env_id: str, seed: int, steps: int, factor: float) -> Returns:
    """δ and damping times ``factor``."""
    radius = [f"algo.delta={factor * DELTA}", f"algo.damping={factor * DAMPING}"]
    settings = settings_of(*SAME, *radius, f"env={env_id}", f"seed={seed}", f"trainer.total_steps={steps}")
    settings["trainer"]["eval_episodes"] = EPISODES
    with tempfile.TemporaryDirectory() as folder:
        evaluation = train_run(build_run(settings), Path(folder))["eval"]
    torch.set_grad_enabled(True)  # for the peer
    return evaluation["return_mean"], evaluation["return_std"]


def peer(env_id: str, seed: int, steps: int) -> Returns:
    torch.set_num_threads(1)
    envs = VecNormalize(make_vec_env(env_id, 1, seed=seed))
    model = TRPO("MlpPolicy", envs, seed=seed, target_kl=DELTA, cg_damping=DAMPING, device="cpu")
    model.learn(steps)
    judge = VecNormalize(make_vec_env(env_id, 1, seed=seed + 10_000), training=False, norm_reward=False)
    judge.obs_rms = envs.obs_rms
    actual, _ = evaluate_policy(model, judge, EPISODES, deterministic=True, return_episode_rewards=True)
    return float(np.mean(actual)), float(np.std(actual))


def sides_of(env_id: str) -> dict[str, Callable[[int, int], Returns]]:
    """(seed, steps) → the final evaluation, by the side's name."""
    dims = float(gym.make(env_id).action_space.shape[0])  # type: ignore[index]
    return {
        "pgrun": lambda seed, steps: ours(env_id, seed, steps, 1.0),
        "pgrun_times_A": lambda seed, steps: ours(env_id, seed, steps, dims),
        "peer": lambda seed, steps: peer(env_id, seed, steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("env")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sides", default="pgrun,pgrun_times_A,peer", metavar="NAME,…")
    given = parser.parse_args()
    sides = sides_of(given.env)
    for name in given.sides.split(","):
        for seed in range(given.seeds):
            mean, std = sides[name](seed, given.steps)
            row = {"side": name, "env": given.env, "seed": seed, "mean": round(mean, 1), "std": round(std, 1)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
