"""Short runs of three methods, and what they leave read back."""

from __future__ import annotations

import csv
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EVERY = {
    "return/train",
    "return/eval",
    *("return/train_std", "return/train_min", "return/train_max"),
    *("return/eval_std", "return/eval_min", "return/eval_max"),
    "episode/length",
    "episode/count",
    "kl/old_new",
    "kl/new_old",
    "kl/max",
    "gradient/variance",
    "gradient/variance_se",
    "gradient/norm",
    "gradient/snr",
    "policy/entropy",
    "policy/loss",
    "step/size",
    "ratio/max",
    "ratio/ess",
    "time/env_steps_per_second",
    "time/learning_share",
    "optimizer/lr",
}
CRITIC = {"value/loss", "value/mean", "value/explained_variance"}
CLIPPING = {"ratio/clip_fraction"}
BRIEF = (
    "trainer.total_steps=1500 trainer.eval_every=500 env.num_envs=4 env=CartPole-v1 logger.every=1 "
    "network.hidden=[16]"
)
METHODS = {
    "ppo": ("algo=ppo sampler.steps=32 state_norm=true reward_scaling=true", EVERY | CRITIC | CLIPPING),
    "a2c": ("algo=a2c sampler.steps=32 network=shared", EVERY | CRITIC),
    "reinforce": ("algo=reinforce sampler.episodes=4", EVERY),
}


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))
