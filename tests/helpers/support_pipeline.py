"""Whole runs in this process: a configuration as the command line composes it, built
and trained in a few lines.
"""

from __future__ import annotations

import copy
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from hydra import compose, initialize_config_dir

import tests.campaigns.probes  # noqa: F401  registers them
from pgrun.command.compose import to_plain_settings
from pgrun.command.hydra_env import register_config_sources
from pgrun.config.paths import conf_dir
from pgrun.envs.vector import Loop
from pgrun.policies.distributions import Categorical
from pgrun.policies.normalization import NoRewardScale, NoStateNorm, RunningNorm
from pgrun.policies.policy import Policy, Separate
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.samplers.steps import Steps
from pgrun.training.build import Run, build_run
from pgrun.training.loop import train_run

QUIET = ("logger.progress=false", "trainer.eval_every=null", "trainer.eval_episodes=1", "tuned=none")


@cache
def composed(words: tuple[str, ...]) -> dict[str, Any]:
    register_config_sources()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return to_plain_settings(compose("config", overrides=[*QUIET, *words]))


def settings(*words: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """What ``pgrun <words> seed=<seed>`` would run with, quiet and evaluated at the end only.

    ``changes`` are made after composing ("env.id": …), which takes a hundred times as long.
    """
    own = {**copy.deepcopy(composed(words)), "seed": seed}
    for key, value in changes.items():
        *groups, name = key.split(".")
        reduce(getitem, groups, own)[name] = value
    return own


def built(*words: str, seed: int = 0, **changes: Any) -> Run:
    torch.set_num_threads(1)
    return build_run(settings(*words, seed=seed, **changes))


def trained(folder: Path, *words: str, seed: int = 0, **changes: Any) -> tuple[Run, dict[str, Any]]:
    """The run after training, and its summary."""
    run = built(*words, seed=seed, **changes)
    return run, train_run(run, folder)


def values(run: Run, obs: list) -> list[float]:
    """The critic's V at raw observations, in units of the raw reward."""
    rows = run.policy.normaliser(torch.as_tensor(obs, dtype=torch.float32).reshape(len(obs), -1))
    return (run.learner.critic.value(rows) * run.scale.scale).tolist()


def outputs(run: Run, obs: list) -> torch.Tensor:
    """Parameters of π(·|s) at raw observations."""
    return run.policy.params(
        run.policy.normaliser(torch.as_tensor(obs, dtype=torch.float32).reshape(len(obs), -1))
    )


def chances(run: Run, obs: list) -> torch.Tensor:
    """π(·|s) of a categorical policy at raw observations."""
    return outputs(run, obs).softmax(-1)


def small_policy(obs_size: int, actions: int, normaliser: NoStateNorm | RunningNorm | None = None) -> Policy:
    """A random policy on ``obs_size`` inputs, far from uniform."""
    generator = torch.Generator().manual_seed(5)
    network = Separate(hidden=(8,), policy_gain=1.0)
    return network.policy(obs_size, Categorical(actions), normaliser or NoStateNorm(), False, generator)


class Script(gym.Env):
    """Plays given episodes in turn: each a list of (reward, next observation), ended
    by termination or truncation.

    ``starts[k]`` is the first observation of episode k; the last ones are repeated for ever.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = spaces.Discrete(2)

    def __init__(self, starts: list[float], episodes: list[list[tuple[float, float]]], ends: list[str]):
        self.starts, self.episodes, self.ends, self.number = starts, episodes, ends, -1

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.number = min(self.number + 1, len(self.episodes) - 1)
        self.t = 0
        return np.array([self.starts[min(self.number, len(self.starts) - 1)]]), {}

    def step(self, action):
        episode, end = self.episodes[self.number], self.ends[self.number]
        reward, obs = episode[self.t]
        self.t += 1
        last = self.t == len(episode)
        return np.array([obs]), reward, last and end == "terminated", last and end == "truncated", {}


def loop(*envs: gym.Env) -> Loop:
    """Columns over the given environments, not yet reset."""
    supply = iter(envs)
    return Loop(lambda: next(supply), len(envs))


def collect_from(sampler: Steps | Episodes, *envs: gym.Env, times: int = 20) -> None:
    """Rollouts of a small random policy, one after the other."""
    columns = loop(*envs)
    columns.name = "env=BadEnv-v0"
    if isinstance(sampler, Steps):
        columns.reset([0, 1])
    for _ in range(times):
        sampler.collect(small_policy(2, 2), columns, draw(), NoRewardScale())


def started(*envs: gym.Env) -> Loop:
    """The same, reset, each with a seed of its own."""
    columns = loop(*envs)
    columns.reset(list(range(len(envs))))
    return columns


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
