"""The preset of the first REINFORCE: one episode, whole returns, one plain step, and it learns."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.helpers.support_pipeline import built, trained

PRESET = "experiment=reinforce_one_episode"


def test_an_update_is_one_episode_and_its_step_the_formula() -> None:
    """g = (Σₜ ∇log π(aₜ|sₜ)) r(τ), for the episode that the sampler plays: through the algorithm's own
    gradient, against the scores.
    """
    run = built(PRESET)
    rollout, finished = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    assert rollout.mask.shape[1] == len(finished) == 1
    value = rollout.reward.new_zeros(rollout.obs.shape[:2])
    batch = run.estimator.batch(rollout, value, run.learner.critic, run.policy)
    scores = run.policy.scores(batch.obs, batch.action).sums(batch.mask, 1)[0]
    actual = -run.algorithm.loss_gradient(batch, run.learner)
    expected = scores * finished[0][0]
    assert float((actual - expected).abs().max()) < 1e-4 * float(
        expected.abs().max()
    )  # float32, some dozen rows


def test_it_learns(tmp_path: Path) -> None:
    """Balancing for three times as long as a random policy, whose mean is 22, after 15 000 steps."""
    _, summary = trained(tmp_path, PRESET, "trainer.total_steps=15000", "trainer.eval_episodes=20")
    assert summary["eval"]["return_mean"] > 66


@pytest.mark.slow
def test_it_solves_cartpole(tmp_path: Path) -> None:
    """On most seeds: one episode an update leaves much to luck. 500, 500 and 132 when this was written."""
    runs = [trained(tmp_path / str(seed), PRESET, seed=seed)[1] for seed in (0, 1, 2)]
    assert statistics.median(run["eval"]["return_mean"] for run in runs) > 475
