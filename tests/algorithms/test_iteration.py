"""What one iteration of training moves, and how often: β, the state normaliser that
acting sees, the reward scale.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from pgrun.training.build import Run
from pgrun.training.loop import train_run
from pgrun.types import Rollout
from tests.helpers.support_pipeline import built

PENALTY = (
    "algo=ppo_penalty env=CartPole-v1 env.num_envs=4 sampler.steps=32 trainer.total_steps=100 "
    "algo.epochs=3 algo.minibatches=4 algo.target_kl=0.01 algo.beta=1.0 network.hidden=[16]"
)
NORMALISED = (
    "algo=ppo env=Pendulum-v1 env.vector=loop env.num_envs=2 sampler.steps=64 trainer.total_steps=512 "
    "algo.epochs=1 state_norm=true reward_scaling=true gamma=0.9 network.hidden=[8]"
)


def one_iteration(folder: Path, lr: float) -> tuple[Run, Rollout]:
    """A run of a single update, and the rollout that it learned from."""
    run, rollouts = built(*PENALTY.split(), **{"optimizer.lr": lr}), []
    collect = run.sampler.collect

    def kept(*args):
        rollouts.append((rollout := collect(*args))[0])
        return rollout

    run.sampler.collect = kept
    train_run(run, folder)
    assert len(rollouts) == 1
    return run, rollouts[0]


@pytest.mark.parametrize(("lr", "factor"), [(1e-6, 0.5), (0.02, 2.0)])
def test_beta_moves_once_an_iteration_whatever_its_minibatches(lr: float, factor: float, tmp_path) -> None:
    """3 epochs × 4 minibatches: updated at every step β would be 2^±12, or what the
    KL of each step makes of it.
    """
    run, rollout = one_iteration(tmp_path, lr)
    old, new = Categorical(logits=rollout.params), Categorical(logits=run.policy.params(rollout.obs[:-1]))
    kl = float((kl_divergence(old, new) * rollout.mask).sum() / rollout.mask.sum())
    assert kl < 0.01 / 1.5 if factor < 1 else kl > 0.01 * 1.5
    assert float(run.algorithm.scalars()["step/beta"]) == factor


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_acting_sees_the_present_parameters_and_statistics(backend: str, tmp_path) -> None:
    """The mode is the mean that log-probabilities are computed from: of raw states
    normalised as training left it, also where it was asked before.
    """
    run = built(*NORMALISED.split(), f"backend={backend}")
    raw = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32) * [1, 1, 8]
    run.policy.actor()(raw.astype(np.float32), None)
    train_run(run, tmp_path)
    moments = run.policy.normaliser.moments
    seen = (torch.from_numpy(raw) - moments.mean) / moments.std
    assert (seen - torch.from_numpy(raw)).abs().max() > 0.5, "normalising changes what is seen"
    mean = run.policy.params(seen.clamp(-10, 10).float())[:, :1]
    acted = torch.from_numpy(run.policy.actor()(raw.astype(np.float32), None))
    torch.testing.assert_close(acted, mean, rtol=1e-4, atol=1e-5)  # float32 in NumPy and in torch


def keep_rewards(env: gym.Env) -> list[float]:
    """A list that grows with each step of the environment."""
    rewards, step = [], env.step

    def kept(action):
        result = step(action)
        rewards.append(float(result[1]))
        return result

    env.step = kept
    return rewards


def test_training_scales_rewards_by_what_it_has_seen_so_far(tmp_path) -> None:
    """From the environments' own record: R ← 0.9R + r from 0 in each episode of 200 steps."""
    run = built(*NORMALISED.split())
    columns = [keep_rewards(env) for env in run.envs.envs]
    train_run(run, tmp_path)
    returns = []
    for rewards in columns:
        running = 0.0
        for t, reward in enumerate(rewards):
            running = reward + (0.9 * running if t % 200 else 0.0)
            returns.append(running)
    assert len(returns) > 500
    assert run.scale.scale == pytest.approx(np.std(returns), rel=1e-5)  # rewards are float32 in between


SLOW = (
    "algo=off_policy_ac algo.corrections=q env=CartPole-v1 env.num_envs=4 sampler.warmup=16 sampler.batch=8 "
    "trainer.total_steps=100 critic.rate=0.1 network.hidden=[8] critic.optimizer.lr=0.1"
)


def test_the_targets_of_replayed_actions_come_from_the_network_that_follows(tmp_path) -> None:
    """φ̄ ← φ̄ + 0.1(φ − φ̄) after each step of φ, kept here from the φ seen; y = r + γ(1 − d)Q_φ̄(s', a')."""
    run, drawn = built(*SLOW.split(), "backend=torch"), []  # whose critic calls its optimizer step by step
    critic, recall = run.learner.critic, run.sampler.recall
    slow, step = critic.phi.clone(), critic.optimizer.step

    def stepped(gradient: torch.Tensor) -> None:
        step(gradient)
        slow.add_(0.1 * (critic.phi - slow))

    def kept(*args):
        drawn.append(actual := recall(*args))
        return actual

    critic.optimizer.step, run.sampler.recall = stepped, kept
    train_run(run, tmp_path)
    last = drawn[-1]
    seen = torch.cat([last.obs[1], torch.eye(2)[last.next_action[0]]], -1)

    def q(phi: torch.Tensor) -> torch.Tensor:
        return critic.net.activations(*critic.net.layers(phi), seen)[-1][:, 0]

    def y(phi: torch.Tensor) -> torch.Tensor:
        return last.reward[0] + 0.99 * (1 - last.terminated[0]) * q(phi)

    actual = critic.rows(last, 0.99).target
    torch.testing.assert_close(actual, y(slow))
    assert (actual - y(critic.phi)).abs().max() > 0.1, "negative control: φ itself has gone ahead"
