"""Every algorithm, with every choice among its own settings, on every kind of action: Discrete,
MultiDiscrete, MultiBinary, Box.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from pgrun.command.compose import Job, compose_jobs
from pgrun.command.overrides import read_command
from pgrun.command.validate import find_problems
from pgrun.config.paths import conf_dir
from pgrun.config.schema import find_class, setting_kinds
from pgrun.training.build import build_run
from pgrun.training.loop import train_run
from tests.helpers.support_slow import slow_but

ALGOS = sorted(path.stem for path in (conf_dir() / "algo").glob("*.yaml"))
TARGETS: dict[
    str, tuple[spaces.Space, list, list]
] = {  # the space, and the best actions where −1 and +1 are seen
    "Discrete": (spaces.Discrete(3, start=1), [1], [3]),
    "MultiDiscrete": (spaces.MultiDiscrete([2, 3]), [0, 2], [1, 0]),
    "MultiBinary": (spaces.MultiBinary(3), [0, 1, 0], [1, 0, 1]),
    "Box": (spaces.Box(-1, 3, (2,), np.float32), [0.5, 2.0], [2.0, 0.5]),
}
each_kind = pytest.mark.parametrize("kind", TARGETS)


class Target(gym.Env):
    """Four steps, ±1 drawn anew at each; every entry of the action earns 1 where it is right, less by its
    squared distance.
    """

    observation_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, kind: str = "Discrete"):
        self.action_space, *self.best = TARGETS[kind]

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def seen(self) -> np.ndarray:
        self.side = int(self.np_random.integers(2))
        return np.array([2 * self.side - 1], np.float32)

    def step(self, action):
        assert self.action_space.contains(action), action
        off = np.atleast_1d(action) - np.array(self.best[self.side])
        near = 1 - off**2 if isinstance(self.action_space, spaces.Box) else off == 0
        self.t += 1
        return self.seen(), float(np.mean(near)), self.t == 4, False, {}


gym.register("ProbeTarget-v0", Target)


@cache
def composed(words: str) -> Job:
    jobs = compose_jobs(read_command(words.split()))
    assert not jobs.problems
    return jobs.composed[0]


def on(kind: str, job: Job, **own: Any) -> Job:
    """The same job in another space of actions, with settings of the algorithm's own."""
    settings = copy.deepcopy(dict(job.settings))
    settings["env"]["kwargs"] = {"kind": kind}
    settings["algo"].update(own)
    return replace(job, settings=settings)


SMALL = "network.hidden=[8] logger.every=1 diagnostics.gradient_every=1 env.num_envs=2 trainer.total_steps=48"
QUIET = "tuned=none trainer.eval_every=null trainer.eval_episodes=4 logger.progress=false"


def small(algo: str) -> Job:
    """A few updates by default: rollouts of 16 steps at most, the sampler's kind as
    the algorithm proposes it.
    """
    job = copy.deepcopy(composed(f"algo={algo} env=ProbeTarget-v0 {SMALL} {QUIET}"))
    sampler = job.settings["sampler"]
    for name, most in {"steps": 16, "episodes": 8, "warmup": 24, "batch": 16}.items():
        if name in sampler:
            sampler[name] = min(sampler[name], most)
    return job


def check_training(job: Job, folder: Path) -> None:
    """Updates are made, θ moves and stays finite, and every logged update has finite numbers."""
    assert find_problems(job) == []
    run = build_run(dict(job.settings))
    before = run.policy.theta.clone()
    summary = train_run(run, folder)
    assert summary["updates"] >= 2
    assert run.policy.theta.isfinite().all()
    assert not torch.equal(run.policy.theta, before)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    updates = [row for row in rows if row["kl/old_new"]]
    assert len(updates) >= 2
    for row in updates:
        assert {tag: x for tag, x in row.items() if x and not np.isfinite(float(x))} == {}
    assert max(float(row["kl/old_new"]) for row in updates) > 0
    assert max(float(row["gradient/norm"]) for row in updates if row["gradient/norm"]) > 0


@each_kind
@pytest.mark.parametrize("algo", ALGOS)
def test_every_algorithm_trains_on_every_kind_of_action(algo: str, kind: str, tmp_path) -> None:
    check_training(on(kind, small(algo)), tmp_path)


def choices(algo: str) -> Iterator[tuple[str, Any]]:
    """Each value but the default of each setting that has a list of them."""
    shown = small(algo).settings["algo"]
    for name, kind in setting_kinds(find_class("algo", algo)).items():
        listed = (True, False) if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
        yield from ((name, value) for value in listed if value != shown[name])


def test_the_choices_are_found() -> None:
    schedules = {("entropy_schedule", kind) for kind in ("linear", "cosine", "kl")}
    schedules |= {("delta_schedule", kind) for kind in ("linear", "cosine")}
    own = {("step", "fixed"), ("fisher", "sampled"), ("solver", "dense")}
    assert set(choices("npg")) == own | schedules
    assert ("self_normalise", True) in choices("off_policy_pg")


@pytest.mark.parametrize("kind", slow_but(["MultiDiscrete"], TARGETS))  # test_device_updates: Gaussians
@pytest.mark.parametrize("algo", ALGOS)
def test_every_choice_of_an_algorithm_trains_or_is_refused_with_what_fits(
    algo: str, kind: str, tmp_path
) -> None:
    for name, value in choices(algo):
        job = on(kind, small(algo), **{name: value})
        problems = find_problems(job)
        folder = tmp_path / f"{name}_{value}"
        folder.mkdir()
        if problems:
            assert all(one.remedy for one in problems), problems
        else:
            check_training(job, folder)


@pytest.mark.parametrize("algo", ALGOS)
def test_no_algorithm_takes_a_box_of_integers(algo: str, monkeypatch) -> None:
    monkeypatch.setitem(TARGETS, "Box", (spaces.Box(0, 3, (2,), np.int64), [0, 2], [2, 0]))
    (reason,) = find_problems(on("Box", small(algo)))
    assert "a Box of integers has no density: make it Discrete or MultiDiscrete" in reason.sentence()


@pytest.mark.slow
@each_kind
@pytest.mark.parametrize("algo", ALGOS)
def test_every_algorithm_finds_the_best_actions(algo: str, kind: str, tmp_path) -> None:
    """4 is the best return; actions that ignore what is seen earn 2 at most."""
    job = on(kind, composed(f"algo={algo} env=ProbeTarget-v0 gamma=0 trainer.total_steps=6000 {QUIET}"))
    small_batches = job.settings["sampler"].get("steps") == 1
    job.settings["optimizer"]["lr"] = 1e-3 if small_batches else 3e-3
    summary = train_run(build_run(dict(job.settings)), tmp_path)
    assert summary["eval"]["return_mean"] > 3
