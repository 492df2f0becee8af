"""Groups of episodes: one start, or one noise, for all of a group; each episode once; refusals."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.command.validate import find_problems
from pgrun.envs import Envs, EnvSettings, make_envs
from pgrun.errors import EnvironmentFault
from pgrun.policies.normalization import NoRewardScale
from pgrun.policies.policy import Policy
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.types import Rollout
from tests.helpers.support_pipeline import built, draw, loop, small_policy

TREE = EnvSettings("pgrun/TokenTree-v0", 4, None, {"prompts": 9})
LAKE = EnvSettings("FrozenLake-v1", 4, 30)


def policy_for(envs: Envs) -> Policy:
    space: Any = envs.action_space
    return small_policy(envs.obs_size, int(space.n))


def always(envs: Envs, action: int) -> Policy:
    """Takes one action but for once in e⁵⁰ times."""
    policy = policy_for(envs)
    policy.theta.zero_()
    policy.net.layers(policy.theta)[0][-1][1][action] = 50.0  # the bias of that output
    return policy


def collected(envs: Envs, sampler: Episodes, policy: Policy | None = None, seed: int = 0) -> Rollout:
    envs.reset(list(range(envs.num_envs)))
    return sampler.collect(policy or policy_for(envs), envs, draw(seed), NoRewardScale())[0]


def alike(x: Tensor, size: int) -> bool:
    """Whether the columns of each group are equal."""
    groups = x.unflatten(1, (-1, size))
    return bool((groups == groups[:, :, :1]).all())


@pytest.mark.parametrize("vector", ["auto", "loop"])
@pytest.mark.parametrize("shared", ["seed", "start"])
@pytest.mark.parametrize("columns", [1, 4, 5, 12, 16])
def test_a_group_has_one_start(columns: int, shared: Any, vector: Any) -> None:
    """Also where its episodes are played in different rounds."""
    if (shared, vector) == ("start", "loop"):
        return
    envs = make_envs(EnvSettings(TREE.id, 4, None, TREE.kwargs, vector=vector), columns)
    rollout = collected(envs, Episodes(12, group=3, shared=shared))
    assert (rollout.mask.shape[1], rollout.count, rollout.group) == (12, 12, 3)
    first = rollout.raw_obs[0]
    assert alike(first[None], 3)
    assert len({tuple(row) for row in first.tolist()}) > 1, "groups differ"
    assert (rollout.mask * rollout.terminated).sum(0).tolist() == [1.0] * 12
    assert not alike(rollout.action, 3), "actions are drawn apart"
    again = collected(envs, Episodes(12, group=3, shared=shared), seed=1)
    assert not torch.equal(again.raw_obs[0], first), "other groups in another rollout"
    envs.close()


@pytest.mark.parametrize("columns", [3, 4, 12])
@pytest.mark.parametrize("vector", ["auto", "loop"])
def test_the_noise_is_shared_step_by_step(columns: int, vector: Any) -> None:
    """On slippery ice, with a policy that always does the same, the episodes of a group are one."""
    envs = make_envs(EnvSettings(LAKE.id, 4, 30, vector=vector), columns)
    rollout = collected(envs, Episodes(12, group=4), always(envs, 2))
    assert (rollout.action * rollout.mask == 2 * rollout.mask).all()
    assert alike(rollout.raw_obs, 4)
    assert len({tuple(x) for x in rollout.raw_obs[:, ::4].argmax(-1).T.tolist()}) == 3, "groups differ"
    envs.close()


def test_the_start_alone() -> None:
    envs = make_envs(LAKE, 12)
    rollout = collected(envs, Episodes(12, group=4, shared="start"), always(envs, 2))
    assert not alike(rollout.raw_obs, 4)
    envs.close()


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_programs_start_as_their_environments_do(
    name: str, numba: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gymnasium's own first observation of the group's seed, in whichever round; then the policy decides."""
    monkeypatch.setattr(importlib.import_module("pgrun.envs.make"), "is_available", lambda: numba)
    envs = make_envs(EnvSettings(name, 1), 4)
    envs.reset([0, 1, 2, 3])
    envs.reset_alike([5, 5, 9, 9], noise_too=True)
    one = gym.make(name)
    wanted = np.array([one.reset(seed=seed)[0] for seed in (5, 5, 9, 9)])
    assert np.array_equal(envs.obs, wanted)
    action = np.array([0, 0, 1, 1])
    envs.step(action)
    one.reset(seed=9)
    assert np.allclose(envs.obs[2:], one.step(1)[0], rtol=0, atol=1e-7)
    rollout = collected(envs, Episodes(6, group=3, max_steps=3, at_cap="truncate"))
    assert alike(rollout.raw_obs[:1], 3)
    assert not alike(rollout.raw_obs, 3)
    envs.close()


def test_the_same_generator_plays_the_same_groups() -> None:
    one, other = (collected(make_envs(TREE, 5), Episodes(12, group=3), seed=4) for _ in range(2))
    assert torch.equal(one.action, other.action)
    assert torch.equal(one.raw_obs, other.raw_obs)


class Forgetful(gym.Env):
    """Starts from a random stream of its own, whatever the seed."""

    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space = spaces.Discrete(2)
    own = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        return self.own.normal(size=2).astype(np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, True, False, {}


def test_an_environment_that_does_not_heed_its_seed_is_told() -> None:
    envs = loop(Forgetful(), Forgetful())
    with pytest.raises(
        EnvironmentFault, match="gave two first observations, and a group of episodes needs one"
    ):
        Episodes(2, group=2).collect(small_policy(2, 2), envs, draw(), NoRewardScale())


def test_the_scheme_says_how_many_where_nothing_else_does() -> None:
    words = ("algo=reinforce", "env=FrozenLake-v1", "backend=torch")
    group: dict[str, Any] = {"variance": {"name": "group"}}
    assert built(*words).sampler.size == 1
    assert built(*words, **group).sampler.size == 4
    assert built(*words, **group, **{"sampler.group": 2}).sampler.size == 2
    assert built(*words, **{"sampler.group": 2}).sampler.size == 2


def problems(line: str) -> list[str]:
    jobs = compose_jobs(read_command(line.split()))
    return [one.sentence() for one in (*jobs.problems, *find_problems(jobs.composed[0]))]


BASE = "algo=reinforce env=FrozenLake-v1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            f"{BASE} variance=group sampler.group=1",
            "sampler.group=1: variance=group compares episodes from the",
        ),
        (
            f"{BASE} variance=group sampler.episodes=6",
            "sampler.group=4: must divide sampler.episodes=6: add ",
        ),
        (
            f"{BASE} sampler.group=5",
            "sampler.group=5: must divide sampler.episodes=16: add sampler.episodes=15",
        ),
        (
            f"{BASE} sampler.group=32",
            "sampler.group=32: must divide sampler.episodes=16: add sampler.episodes=32",
        ),
        (
            "algo=ppo env=FrozenLake-v1 variance=group",
            "variance=group: needs whole episodes: add sampler=episodes",
        ),
        (f"{BASE} sampler.shared=start", "sampler.shared: it is what the episodes of a group share"),
        ("algo=reinforce variance=group sampler.shared=start", "env=CartPole-v1 is not its transition table"),
        (f"{BASE} variance=group env.vector=loop sampler.shared=start", "is not its transition table"),
        (
            f"{BASE} variance=group variance.length=episode variance.constant=2",
            "it is read with variance.length",
        ),
        (
            f"{BASE} variance=group variance.kind=gspo",
            "variance.kind=gspo: must be one of rloo, grpo, dr_grpo",
        ),
        (f"{BASE} variance=group sampler.group=0", "sampler.group=0: must be ≥ 1"),
    ],
)
def test_refusals(line: str, said: str) -> None:
    actual = problems(line)
    assert any(said in text for text in actual), actual


@pytest.mark.parametrize(
    "line",
    [
        f"{BASE} variance=group",
        f"{BASE} variance=group variance.kind=grpo variance.length=episode sampler.shared=start",
        f"{BASE} variance=leave_one_out sampler.group=8 sampler.shared=start",
        "algo=ppo variance=group sampler=episodes sampler.group=2",
    ],
)
def test_what_fits(line: str) -> None:
    assert problems(line) == []
