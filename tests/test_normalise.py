"""Normalisers against NumPy and plain loops, over many consecutive rollouts of the real samplers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pgrun.normalise import Identity, RewardScale, RunningNorm, UnitScale
from pgrun.samplers.episodes import Episodes
from pgrun.samplers.steps import Steps
from pgrun.train import evaluate
from tests.support_pipeline import built, draw, loop, small_policy, trained
from tests.support_record import Recorded, episodes, rows

GAMMA = 0.9
SAMPLERS = {"steps": Steps(5), "steps of one row": Steps(1), "many steps": Steps(33), "episodes": Episodes(5)}
each_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


def played(sampler, norm, scale, rollouts: int = 12, columns: int = 2):
    """(environments, rollouts) with both normalisers updated after each rollout, as training does."""
    originals = [Recorded(seed) for seed in range(columns)]
    envs, policy, noise = loop(*originals), small_policy(2, 3, norm), draw()
    if isinstance(sampler, Steps):
        envs.reset()
    found = []
    for _ in range(rollouts):
        rollout, _ = sampler.collect(policy, envs, noise, scale)
        norm.update(rollout)
        scale.update(rollout)
        found.append(rollout)
    return originals, found


@each_sampler
def test_state_statistics_are_those_of_every_observation_once(sampler) -> None:
    """Each observation acted on, and the last one of each episode; the one that a cut leaves pending comes later."""
    norm = RunningNorm(2)
    originals, _ = played(sampler, norm, UnitScale())
    seen = []
    for env in originals:
        for row in rows(env.record):
            if row.action is not None:
                seen += [row.obs] + [row.next] * row.ended
    seen = np.array(seen)
    assert norm.moments.count == len(seen) == len(np.unique(seen[:, 0])), "every observation is unique here"
    np.testing.assert_allclose(norm.moments.mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(norm.moments.std, seen.std(0), rtol=1e-12)


@each_sampler
def test_reward_scale_is_the_deviation_of_the_running_discounted_return(sampler) -> None:
    """R ← γR + r within an episode, across rollouts; a new episode starts at 0."""
    scale = RewardScale(GAMMA, 2)
    originals, _ = played(sampler, Identity(), scale)
    returns, unbroken = [], []
    for env in originals:
        running = wrong = 0.0
        for row in rows(env.record):
            if row.action is None:
                running = 0.0
                continue
            running, wrong = GAMMA * running + row.reward, GAMMA * wrong + row.reward
            returns.append(running)
            unbroken.append(wrong)
    assert scale.moments.count == len(returns)
    assert scale.scale == pytest.approx(np.std(returns), rel=1e-12)
    assert scale.scale != pytest.approx(np.std(unbroken), rel=1e-3), "negative control: no restart"


@each_sampler
def test_statistics_are_frozen_during_a_rollout_and_move_after_it(sampler) -> None:
    """What the networks saw is each rollout's own raw data under the statistics of the rollouts before it."""
    norm, scale = RunningNorm(2), RewardScale(GAMMA, 2)
    _, rollouts = played(sampler, norm, scale, rollouts=6)
    fresh, fresh_scale = RunningNorm(2), RewardScale(GAMMA, 2)
    for rollout in rollouts:
        assert torch.equal(rollout.obs, fresh(rollout.raw_obs))
        assert torch.equal(rollout.reward, fresh_scale(rollout.raw_reward))
        fresh.update(rollout)
        fresh_scale.update(rollout)
    assert not torch.equal(rollout.reward, rollout.raw_reward)
    assert not torch.equal(rollout.obs, rollout.raw_obs)


def test_clipped_to_ten_deviations_and_alike_in_numpy() -> None:
    norm = RunningNorm(2)
    played(Steps(20), norm, UnitScale())
    obs = np.array([[1e9, -1e9], [3.0, -0.5]], np.float32)
    ours = norm(torch.from_numpy(obs))
    assert ours[0].tolist() == [10, -10]
    np.testing.assert_allclose(norm.in_numpy()(obs), ours, rtol=1e-6)  # two libraries, float32


def test_a_constant_observation_stays_finite() -> None:
    run = built(*["algo=ppo", "env=ProbeTwoActions-v0", "state_norm=true", "reward_scaling=true"])
    for _ in range(2):
        rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        run.policy.normaliser.update(rollout)
    assert torch.isfinite(rollout.obs).all()


def test_large_offsets_lose_no_precision() -> None:
    """10⁶ ± 1: E[x²] − E[x]² in float32 would be noise; merged moments keep ten digits."""
    norm = RunningNorm(1)
    x = np.random.default_rng(0).normal(size=(50, 200, 1)) + 1e6
    for rows_ in torch.from_numpy(x):
        norm.moments.update(rows_, torch.ones(len(rows_)))
    assert norm.moments.std.item() == pytest.approx(x.std(), rel=1e-9)


NORMALISED = (
    "algo=ppo env=Pendulum-v1 env.num_envs=2 sampler.steps=32 trainer.total_steps=256 state_norm=true"
)


def test_evaluation_moves_nothing_and_the_statistics_are_saved_with_the_policy(tmp_path) -> None:
    run, _ = trained(tmp_path, *NORMALISED.split(), "reward_scaling=true")
    before = {k: v.clone() for k, v in run.policy.state_dict().items()}
    evaluate(run)
    after = run.policy.state_dict()
    assert before.keys() == after.keys() == {"theta", "obs_count", "obs_mean", "obs_squares"}
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert before["obs_count"] == 256


def test_state_dicts_restore_both() -> None:
    norm, scale = RunningNorm(2), RewardScale(GAMMA, 2)
    originals, rollouts = played(Steps(7), norm, scale)
    assert episodes(originals[0].record)
    again, again_scale = RunningNorm(2), RewardScale(GAMMA, 2)
    again.load_state_dict(norm.state_dict())
    again_scale.load_state_dict({k: v.clone() for k, v in scale.state_dict().items()})
    for one, other in ((norm, again), (scale, again_scale)):
        one.update(rollouts[0])
        other.update(rollouts[0])
    assert torch.equal(norm(rollouts[0].raw_obs), again(rollouts[0].raw_obs))
    assert scale.scale == again_scale.scale
