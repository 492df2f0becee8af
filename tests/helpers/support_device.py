"""Small runs of every algorithm, sampler and kind of action, on the CPU or on a device, real or pretended."""

from __future__ import annotations

import importlib
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from pgrun.config.paths import conf_dir
from pgrun.config.schema import find_class
from pgrun.rollouts.trajectory import Finished
from pgrun.training import build as building
from pgrun.training.build import Run
from pgrun.types import Rollout
from tests.helpers.support_pipeline import settings

loop = importlib.import_module("pgrun.training.loop")
ALGOS = sorted(path.stem for path in (conf_dir() / "algo").glob("*.yaml"))
SPACES: dict[str, spaces.Space[Any]] = {
    "categorical": spaces.Discrete(3, start=1),
    "multi_categorical": spaces.MultiDiscrete([2, 3]),
    "bernoulli": spaces.MultiBinary(3),
    "gaussian": spaces.Box(-1, 3, (2,), np.float32),
}
PAIRS = [(algo, sampler) for algo in ALGOS for sampler in find_class("algo", algo).samplers]
SMALL = {"sampler.steps": 5, "sampler.episodes": 4, "sampler.batch": 8, "sampler.warmup": 1}
EVERY_ROW = {"logger.every": 1, "diagnostics.gradient_every": 1, "diagnostics.detail": True}
NO_ROW = {"logger.every": 10**9, "diagnostics.gradient_every": 0}


class Short(gym.Env[Any, Any]):
    """Episodes of two or three steps, the last one cut: mask, termination and truncation are all there."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, kind: str = "categorical"):
        self.action_space = SPACES[kind]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t, self.long = 0, bool(self.np_random.integers(2))
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        obs = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        over = self.t == 2 + self.long
        return obs, float(obs[0] + np.mean(action)), over and self.long, over and not self.long, {}


gym.register("ProbeShort-v0", Short)


def small_settings(algo: str, *words: str, kind: str = "categorical", **changes: Any) -> dict[str, Any]:
    """Settings of a run on ``Short``; ``changes`` as ``support_pipeline.settings`` takes them."""
    given = settings(f"algo={algo}", "env=ProbeShort-v0", *words)
    given["env"].update(kwargs={"kind": kind}, num_envs=2)
    given["network"]["hidden"] = [4]
    for key, value in {"epochs": 1, "minibatches": 2, "iterations": 3}.items():
        for group in ("algo", "critic"):
            if key in given[group]:
                given[group][key] = value
    for key, value in (SMALL | NO_ROW | changes).items():
        *groups, name = key.split(".")
        part = given
        for group in groups:
            part = part[group]
        if name in part or key in changes:
            part[name] = value
    return given


def build_on(device: Literal["cpu", "cuda"], given: dict[str, Any]) -> Run:
    """A run in torch; the first card has a number, which the pretended one needs."""
    torch.set_num_threads(1)
    before = building.resolve_device
    building.resolve_device = lambda _: "cuda:0" if device == "cuda" else "cpu"  # type: ignore[assignment]
    try:
        return building.build_run(given | {"device": device}, "torch")
    finally:
        building.resolve_device = before


def collect_rollout(run: Run) -> tuple[Rollout, Finished]:
    return run.sampler.collect(run.policy, run.envs, run.noise, run.scale)


def take_state(run: Run) -> dict[str, Any]:
    """All numbers that an update moves."""
    moved = ("policy", "optimizer", "critic", "algorithm", "reward_scale", "meter")
    state = run.state_dict()
    return {name: state[name] for name in moved}


def assert_equal(ours: Any, theirs: Any, path: str) -> None:
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            assert_equal(ours[name], theirs[name], f"{path}/{name}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), path
    else:
        assert ours == theirs or ours != ours, path
