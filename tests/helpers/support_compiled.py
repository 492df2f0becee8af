"""A run in two forms, torch's and the compiled one, learning from the same rollouts and generators."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest
import torch

pytest.importorskip("numba")

from pgrun.training.build import Run, build_run
from tests.helpers.support_pipeline import settings

training = importlib.import_module("pgrun.training.loop")

SMALL = {
    "reinforce": {"env.num_envs": 4, "sampler.episodes": 4, "critic.epochs": 2},
    "a2c": {"env.num_envs": 4, "sampler.steps": 16, "algo.epochs": 2, "algo.minibatches": 3},
    "ppo": {"env.num_envs": 4, "sampler.steps": 32, "algo.epochs": 3, "critic.epochs": 3},
    "ppo_penalty": {"env.num_envs": 4, "sampler.steps": 32, "algo.epochs": 3, "critic.epochs": 3},
    "npg": {"env.num_envs": 4, "sampler.steps": 32, "critic.epochs": 2},
    "trpo": {"env.num_envs": 4, "sampler.steps": 32, "critic.epochs": 2},
    "euclidean_pg": {"env.num_envs": 4, "sampler.steps": 32, "critic.epochs": 2},
    "online_ac": {},
    "off_policy_pg": {"env.num_envs": 4, "sampler.episodes": 4},
    "storm_pg": {"env.num_envs": 4, "sampler.episodes": 4},
    "off_policy_ac": {"sampler.warmup": 1},
}
ENVS = {"categorical": "CartPole-v1", "gaussian": "Pendulum-v1"}


def built(algo: str, backend: str, **changes: Any) -> Run:
    torch.set_num_threads(1)
    given = settings(f"algo={algo}", **SMALL[algo] | changes)
    given["diagnostics"]["gradient_every"], given["logger"]["every"] = 0, 10**9
    return build_run(copy.deepcopy(given), backend)


def update(run: Run, count: int = 1) -> Run:
    """``count`` updates with what the run collects itself."""
    counters = training.Counters()
    for k in range(count):
        run.set_progress(k / 10)
        rollout, finished = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        counters.add(rollout, finished)
        training.update_from_rollout(run, rollout, counters)
    return run


def parameters(run: Run) -> torch.Tensor:
    """θ and φ in one vector."""
    phi = getattr(run.learner.critic, "phi", None)
    return run.policy.theta.clone() if phi is None else torch.cat([run.policy.theta, phi])


def apart(algo: str, count: int = 1, **changes: Any) -> float:
    """‖compiled − torch‖ ÷ ‖torch − start‖ of all parameters after ``count`` updates."""
    starts, ends = [], []
    for backend in (
        "torch",
        "compiled",
    ):  # one after the other: the backups of returns are the process's last built
        run = built(algo, backend, **changes)
        starts.append(parameters(run))
        ends.append(parameters(update(run, count)))
    (start, other), (theirs, ours) = starts, ends
    assert torch.equal(start, other)
    step = (theirs - start).norm()
    assert step > 0
    return float((ours - theirs).norm() / step)
