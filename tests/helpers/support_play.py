"""A policy played as by the command, and the words of a short run to play."""

from __future__ import annotations

import shlex

from pgrun.tools.play.cli import read_play_options
from pgrun.tools.play.play import play_policy

SHORT = ("algo=ppo", "trainer.total_steps=256", "env.num_envs=2", "sampler.steps=64", "algo.epochs=1")


def plays(words: str) -> str:
    return play_policy(read_play_options(shlex.split(words)))
