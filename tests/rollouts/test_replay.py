"""The replay buffer: uniform draws, the oldest overwritten, rows that only reset
never in it, and all of it in its state.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.samplers.replay import Replay
from pgrun.training.build import Run
from pgrun.training.counters import Counters
from pgrun.training.loop import update_from_rollout
from pgrun.types import Rollout
from tests.helpers.support_pipeline import built, draw, small_policy

POLICY = small_policy(1, 2)


def numbered(first: int, steps: int, columns: int = 2, mask: float | torch.Tensor = 1.0) -> Rollout:
    """Transitions n → n + ½ with reward n, numbered from ``first``."""
    number = torch.arange(first, first + steps * columns, dtype=torch.float32).view(steps, columns)
    obs = torch.cat([number, number[-1:] + columns])[..., None]
    zero = torch.zeros_like(number)
    return Rollout(
        obs=obs, action=zero.long(), log_prob=zero, params=torch.zeros(steps, columns, 2), reward=number,
        terminated=(number % 5 == 0).float(), ended=(number % 5 == 0).float(),
        mask=mask * torch.ones_like(number), time=number,
        raw_obs=obs, raw_reward=number, count=1.0, whole_episodes=False,
    )  # fmt: skip


def recall(sampler: Replay, rollout: Rollout, generator: torch.Generator | None = None) -> Rollout | None:
    return sampler.recall(rollout, POLICY, NoRewardScale(), generator or draw())


def held(sampler: Replay) -> list[float]:
    return sorted(sampler.memory["reward"][: sampler.size].tolist())


def test_nothing_is_drawn_before_warmup() -> None:
    sampler = Replay(capacity=100, batch=4, warmup=10)
    assert recall(sampler, numbered(0, 4)) is None
    drawn = recall(sampler, numbered(8, 1))
    assert drawn is not None
    assert drawn.mask.shape == (1, 4)


def test_the_oldest_are_overwritten_and_rows_stay_whole() -> None:
    sampler = Replay(capacity=10, batch=500, warmup=1)
    for first in range(0, 26, 2):  # 26 transitions, two at a time
        drawn = recall(sampler, numbered(first, 1))
    assert held(sampler) == list(range(16, 26))
    assert drawn is not None
    reward = drawn.reward[0]
    assert set(reward.tolist()) == set(range(16, 26))
    assert torch.equal(drawn.obs[0, :, 0], reward)
    assert torch.equal(drawn.obs[1, :, 0], reward + 2)  # the successor in its own column
    assert torch.equal(drawn.terminated[0], (reward % 5 == 0).float())
    assert torch.equal(drawn.time[0], reward)


def test_a_rollout_longer_than_the_ring_leaves_its_last_rows() -> None:
    """Rows go in by time, so the newest of every column stay."""
    sampler = Replay(capacity=6, batch=4, warmup=1)
    recall(sampler, numbered(0, 10))
    assert held(sampler) == list(range(14, 20))


def test_rows_that_only_reset_never_enter() -> None:
    mask = torch.ones(50, 2)
    mask[::7, 0] = 0
    mask[::3, 1] = 0
    sampler = Replay(capacity=1000, batch=4, warmup=1)
    rollout = numbered(0, 50, mask=mask)
    recall(sampler, rollout)
    assert held(sampler) == sorted(rollout.reward[mask > 0].tolist())
    assert sampler.seen == int(mask.sum())


def test_in_training_every_row_is_a_step_of_the_environment() -> None:
    """On OneState a reset row would be a transition with reward 0 that does not end."""
    run = built("env=pgrun/OneState-v0", "algo=off_policy_ac", "sampler.warmup=8", "env.num_envs=4")
    counters = go_on(run, 50)
    memory, size = run.sampler.memory, run.sampler.size
    assert size == counters.env_steps < 200
    assert torch.equal(memory["reward"][:size], 1 - memory["terminated"][:size])
    assert 0 < memory["terminated"][:size].sum() < size


def test_draws_are_uniform_over_what_is_held() -> None:
    """χ² of 40 000 draws from 20 places: 19 degrees of freedom, below 43.8 in 999 cases of 1000."""
    sampler = Replay(capacity=20, batch=40_000, warmup=1)
    recall(sampler, numbered(0, 8))
    drawn = recall(sampler, numbered(16, 10), draw(3))  # the ring has gone round
    assert drawn is not None
    count = torch.bincount(drawn.reward[0].long() - 16, minlength=20).double()
    assert float(((count - 2000) ** 2 / 2000).sum()) < 43.8
    assert len(set(drawn.reward[0, :100].tolist())) > 10  # no block of neighbours


def test_the_next_action_is_the_collecting_policys_in_the_successor() -> None:
    """20 000 rows s = −1 → s' = 2: its frequencies are π(·|s'), not π(·|s), and not
    those of the policy that draws.
    """
    n, old, now = 20_000, small_policy(1, 2), small_policy(1, 2)
    now.theta.zero_()
    rollout = numbered(0, 1, columns=n)
    obs = torch.tensor([-1.0, 2.0]).view(2, 1, 1).expand(2, n, 1)
    rollout = replace(rollout, obs=obs, raw_obs=obs)
    sampler = Replay(capacity=n, batch=n, warmup=1)
    sampler.recall(rollout, old, NoRewardScale(), draw(1))
    drawn = sampler.recall(replace(rollout, mask=0 * rollout.mask), now, NoRewardScale(), draw(2))
    assert drawn is not None
    at_s, right = old.params(torch.tensor([[-1.0], [2.0]])).softmax(-1)[:, 1].tolist()
    error = (right * (1 - right) / n) ** 0.5
    kept = float(sampler.memory["next_action"].double().mean())
    assert abs(kept - right) < 4 * error
    assert min(abs(kept - at_s), abs(kept - 0.5)) > 8 * error
    assert abs(float(drawn.next_action.double().mean()) - kept) < 4 * error  # a draw with replacement


def go_on(run: Run, updates: int) -> Counters:
    counters = Counters()
    for _ in range(updates):
        rollout, finished = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        counters.add(rollout, finished)
        update_from_rollout(run, rollout, counters)
    return counters


WORDS = (
    "env=FrozenLake-v1",
    "algo=off_policy_ac",
    "sampler.warmup=16",
    "sampler.capacity=40",
    "sampler.batch=8",
)


@pytest.mark.parametrize("lost", [None, "sampler", "critic"])
def test_a_loaded_run_goes_on_bit_for_bit_and_not_without_its_buffer(lost: str | None) -> None:
    """Past the ring's first round; negative control: one part is left as the other run has it."""
    first, second = built(*WORDS), built(*WORDS, seed=1)
    go_on(first, 10)
    go_on(second, 10)
    state = copy.deepcopy(first.state_dict())
    if lost:
        state[lost] = copy.deepcopy(second.state_dict()[lost])
    second.load_state_dict(state)
    go_on(first, 5)
    go_on(second, 5)
    assert torch.equal(first.policy.theta, second.policy.theta) == (lost is None)


def test_kl_age_is_of_the_policy_that_took_the_action() -> None:
    """Against torch's own KL in the states of the draw; 0 while the policy is still
    the one that filled the buffer.
    """
    old, now = small_policy(1, 2), small_policy(1, 2)
    now.theta.mul_(-0.5)
    rollout = numbered(0, 10)
    params = old.params(rollout.obs[:-1])
    sampler = Replay(capacity=100, batch=300, warmup=1)
    same = sampler.recall(replace(rollout, params=params), old, NoRewardScale(), draw(1))
    assert same is not None
    assert float(sampler.scalars(same, old)["replay/kl_age"]) == pytest.approx(0, abs=1e-6)  # float32
    drawn = sampler.recall(
        replace(rollout, params=params, mask=0 * rollout.mask), now, NoRewardScale(), draw(2)
    )
    assert drawn is not None
    of = [Categorical(logits=policy.params(drawn.obs[0])) for policy in (old, now)]
    expected = kl_divergence(*of).mean()
    assert float(expected) > 0.01
    torch.testing.assert_close(sampler.scalars(drawn, now)["replay/kl_age"], expected, rtol=1e-4, atol=1e-7)
