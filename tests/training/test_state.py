"""What ``state_dict`` holds is enough: a fresh run that loads it goes on exactly as
the one that was saved.
"""

from __future__ import annotations

import copy

import pytest
import torch

from pgrun.training.build import Run
from pgrun.training.counters import Counters
from pgrun.training.loop import update_from_rollout
from tests.helpers.support_pipeline import built

RUNS = {
    "ppo, native, shuffled minibatches": ["env=CartPole-v1", "algo=ppo", "sampler.steps=16"],
    "a2c, loop, normalised": [
        *("env=Pendulum-v1", "algo=a2c", "state_norm=true", "reward_scaling=true", "env.num_envs=2")
    ],
    "ppo_penalty, shared, MuJoCo": [
        *("env=HalfCheetah-v5", "algo=ppo_penalty", "network=shared", "sampler.steps=8", "env.num_envs=2")
    ],
    "trpo, table": ["env=FrozenLake-v1", "algo=trpo", "sampler.steps=16"],
    "online_ac, a window of the meter": ["env=CartPole-v1", "algo=online_ac"],
    "off_policy_ac, replay": ["env=Pendulum-v1", "algo=off_policy_ac", "sampler.warmup=8"],
    "reinforce, whole episodes": ["env=Acrobot-v1", "algo=reinforce", "sampler.episodes=2", "env.num_envs=2"],
}


def go_on(run: Run, updates: int) -> None:
    counters = Counters()
    for _ in range(updates):
        rollout, finished = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        counters.add(rollout, finished)
        update_from_rollout(run, rollout, counters)


@pytest.mark.parametrize("name", RUNS)
def test_a_loaded_run_goes_on_bit_for_bit(name: str) -> None:
    first, second = built(*RUNS[name]), built(*RUNS[name], seed=1)
    go_on(first, 3)
    state = copy.deepcopy(first.state_dict())
    second.load_state_dict(state)
    go_on(first, 3)
    go_on(second, 3)
    assert torch.equal(first.policy.theta, second.policy.theta)
    assert (first.envs.obs == second.envs.obs).all()


@pytest.mark.parametrize("lost", ["policy", "optimizer", "critic", "reward_scale", "envs", "noise"])
def test_without_any_one_part_it_does_not(lost: str) -> None:
    """Negative control: the comparison above can fail."""
    words = RUNS["a2c, loop, normalised"]
    first, second = built(*words), built(*words, seed=1)
    go_on(first, 3)
    state = copy.deepcopy(first.state_dict())
    state[lost] = copy.deepcopy(second.state_dict()[lost])
    second.load_state_dict(state)
    go_on(first, 3)
    go_on(second, 3)
    assert not torch.equal(first.policy.theta, second.policy.theta)
