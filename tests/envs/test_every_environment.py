"""Every environment of gymnasium that can be made is stepped; those that cannot say why."""

from __future__ import annotations

import re

import gymnasium as gym
import pytest
import torch

from pgrun.envs import EnvSettings, make_envs, make_probed_env
from pgrun.errors import InvalidCommand
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Separate, distribution_for
from pgrun.rollouts.samplers.steps import Steps
from tests.helpers.support_pipeline import draw

LEFT_OUT = {
    r"^(phys2d|tabular)/": "needs jax",
    r"-v[23]$": "needs mujoco-py",
    r"^GymV2": "a shim around other packages",
    r"^Pusher-v4$": "needs mujoco < 3",
    r"^CarRacing": "pixels, seconds a reset",
    r"^(AnySpaces|Probe)": "ours",
    r"^pgrun/Table-": "needs a file",
}
KEPT = {"BipedalWalker-v3", "LunarLander-v3", "LunarLanderContinuous-v3", "BipedalWalkerHardcore-v3"}
IDS = sorted(
    name
    for name, spec in gym.registry.items()
    if isinstance(spec.entry_point, str)  # classes are other tests' own
    and (name in KEPT or not any(re.search(pattern, name) for pattern in LEFT_OUT))
)


def test_the_list_is_long_enough() -> None:
    groups = (
        "CartPole-v1",
        "FrozenLake-v1",
        "Taxi-v4",
        "Blackjack-v1",
        "LunarLander-v3",
        "HalfCheetah-v5",
        "Ant-v5",
    )
    assert set(groups) <= set(IDS)
    assert len(IDS) >= 35


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Pusher-v4", "mujoco<3"), ("HalfCheetah-v2", "gymnasium-robotics"), ("phys2d/CartPole-v1", "jax|flax")],
)
def test_what_cannot_be_made_says_why(name: str, reason: str) -> None:
    """No extra of ours would help: mujoco is installed here."""
    with pytest.raises(InvalidCommand, match=f"{name}: cannot be made here: .*{reason}"):
        make_probed_env(EnvSettings(name, 1))


@pytest.mark.parametrize("name", IDS)
def test_every_environment_gives_twenty_steps(name: str) -> None:
    settings = EnvSettings(name, 2, flatten_images=name == "pgrun/Catch-v0")
    make_probed_env(settings).close()
    envs = make_envs(settings, 2)
    envs.reset([1, 2])
    dist = distribution_for(envs.action_space)
    policy = Separate(hidden=(8,)).policy(envs.obs_size, dist, NoStateNorm(), False, draw())
    rollout, _ = Steps(20).collect(policy, envs, draw(), NoRewardScale())
    envs.close()
    assert rollout.obs.shape == (21, 2, envs.obs_size)
    assert torch.isfinite(rollout.log_prob).all()
    assert rollout.mask[0].all()
    assert (rollout.mask[1:] == 1 - rollout.ended[:-1]).all()
