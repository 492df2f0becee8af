"""online_ac against numbers worked by hand: one δ for both, taken before φ moves, its target held fixed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import torch
from torch import Tensor

from pgrun.training.build import Run
from pgrun.training.counters import Counters
from pgrun.training.loop import update_from_rollout
from tests.helpers.support_pipeline import Script, built, trained

TABULAR = [
    "algo=online_ac",
    "optimizer=sgd",
    "critic/optimizer=sgd",
    "network.hidden=[]",
    "network.bias=false",
]
HAND = "HandWorked-v0"
ALPHA, BETA, GAMMA, W = 0.2, 0.1, 0.5, 0.4


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """s = 2 → 3 with reward 1, then → 1, the end, with reward 2: V(s) = ws, so that
    ∇V differs from state to state.
    """
    gymnasium.register(HAND, lambda: Script([2.0], [[(1.0, 3.0), (2.0, 1.0)]], ["terminated"]))
    yield
    gymnasium.registry.pop(HAND)


def by_hand() -> Run:
    run = built(
        *TABULAR, "env=CartPole-v1", "env.num_envs=1", **{
            "env.id": HAND, "gamma": GAMMA, "optimizer.lr": ALPHA, "critic.optimizer.lr": BETA,
        },
    )  # fmt: skip
    run.learner.critic.phi.fill_(W)
    run.policy.theta.zero_()
    return run


def one_update(run: Run) -> int:
    """The action that it learned from."""
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    update_from_rollout(run, rollout, Counters())
    return int(rollout.action)


def toward(action: int) -> Tensor:
    """∇log π(a) over the logits' weights at π = ½, for a state of size 1."""
    return torch.tensor([0.5, -0.5]) * (1 - 2 * action)


def test_a_step_by_hand() -> None:
    """V(s) = 0.8, V(s') = 1.2: δ = 1 + 0.5·1.2 − 0.8 = 0.8.

    φ: 0.4 + 0.1·0.8·2 = 0.56. θ: ± 0.2·0.8·½·2 = 0.16.
    """
    run = by_hand()
    action = one_update(run)
    assert float(run.learner.critic.phi) == pytest.approx(0.56)
    torch.testing.assert_close(run.policy.theta, 0.16 * 2 * toward(action))
    literal = W - BETA * 0.8 * (GAMMA * 3 - 2)  # ∇½δ² through V(s') as well
    assert float(run.learner.critic.phi) != pytest.approx(literal, rel=0.1)
    late = 1 + GAMMA * 0.56 * 3 - 0.56 * 2  # δ of the φ that has moved
    assert late == pytest.approx(0.72)


def test_the_step_into_the_end_by_hand() -> None:
    """φ = 0.56: V(3) = 1.68, δ = 2 − 1.68 = 0.32, nothing from V(1): φ = 0.56 + 0.1·0.32·3 = 0.656."""
    run = by_hand()
    one_update(run)
    theta = run.policy.theta.clone()
    run.policy.theta.zero_()
    action = one_update(run)
    assert float(run.learner.critic.phi) == pytest.approx(0.656)
    torch.testing.assert_close(run.policy.theta, ALPHA * 0.32 * 3 * toward(action))
    assert theta.norm() > 0


SPLIT = [
    "env=pgrun/ASplit-v0",
    "env.num_envs=32",
    "gamma=1",
    "trainer.total_steps=20000",
    "diagnostics.gradient_every=0",
]
RATE = 1.0  # falls to 0 over the run; all columns are in A at once, then in B or C, then in a reset


def test_the_semi_gradient_finds_the_values_of_a_split(tmp_path: Path) -> None:
    """V = (½, 1, 0), by training."""
    rates = [f"critic.optimizer.lr={RATE}", "critic.optimizer.schedule=linear"]
    run, _ = trained(tmp_path, *TABULAR, *SPLIT, *rates, "logger.every=100")
    assert run.learner.critic.phi.tolist() == pytest.approx([0.5, 1.0, 0.0], abs=0.06)  # noise of A's coin


def test_the_gradient_of_the_squared_error_finds_others() -> None:
    """Negative control, on the same rollouts: the literal ∇δ² settles at (½, ¾, ¼) (Sutton & Barto 2018,
    example 11.2).
    """
    run = built(*TABULAR, *SPLIT)
    phi, updates = torch.zeros(3), 625
    for k in range(updates):
        rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        mask, features = rollout.mask[0], rollout.obs
        after = (1 - rollout.terminated[0])[:, None] * features[1]
        delta = rollout.reward[0] + (after - features[0]) @ phi
        slope = (mask * delta) @ (after - features[0]) / mask.sum().clamp(min=1)
        phi -= RATE * (1 - k / updates) * slope
    assert phi.tolist() == pytest.approx([0.5, 0.75, 0.25], abs=0.06)
