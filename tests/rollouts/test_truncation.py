"""Truncation is no termination: five treatments told apart by one case, and a ring
world, through the real sampler.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pgrun.critics.fitted import Fitted
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.samplers.base import OnPolicy
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.rollouts.samplers.steps import Steps
from pgrun.training.loop import train_run
from pgrun.types import Rollout
from pgrun.variance.gae import Gae
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_pipeline import Script, built, draw, loop, small_policy, started, values

GAMMA = 0.9
V = {
    0: 10.0,
    1: 20.0,
    2: 30.0,
    3: 40.0,
    4: 100.0,
    5: 7.0,
}  # 3: the final observation; 4: the next episode's first
FIRST = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]  # (reward, next observation)


def collected(sampler: Steps | Episodes, end: str = "truncated", then: float = -1000.0) -> Rollout:
    """Three steps that end with ``end``, then an episode of its own, with the reward ``then``."""
    script = Script([0.0, 4.0], [FIRST, [(then, 5.0)] * 9], [end, "truncated"])
    envs = loop(script) if isinstance(sampler, Episodes) else started(script)  # episodes resets by itself
    return sampler.collect(small_policy(1, 2), envs, draw(), NoRewardScale())[0]


def table(rollout: Rollout) -> torch.Tensor:
    """A critic that knows V: [T+1, N]."""
    return torch.tensor([[V[int(x)] for x in row] for row in rollout.raw_obs[..., 0]])


def delta(rollout: Rollout, value: torch.Tensor) -> list[float]:
    """δ of the first episode's three steps, from GAE at λ = 0."""
    return Gae(lam=0.0).psi(rollout, value, GAMMA)[:3, 0].tolist()


SAMPLERS = {"steps": Steps(7), "steps cut at the end": Steps(3), "episodes": Episodes(2)}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_a_truncated_episode_bootstraps_from_its_own_last_state(sampler) -> None:
    """δ = (1 + 0.9·20 − 10, 2 + 0.9·30 − 20, 3 + 0.9·40 − 30) = (9, 9, 9)."""
    rollout = collected(sampler)
    assert rollout.raw_obs[:4, 0, 0].tolist() == [0, 1, 2, 3]
    assert delta(rollout, table(rollout)) == pytest.approx([9, 9, 9], abs=1e-5)  # float32, |x| ≤ 100


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_nothing_leaks_from_the_next_episode(sampler) -> None:
    """Ψ with long traces and every critic target: by hand, whatever the next episode brings."""
    for then in (-1000.0, 0.0, 1e6):
        rollout = collected(sampler, then=then)
        value = table(rollout)
        trace = 0.95 * GAMMA
        wanted = [9 * (1 + trace + trace**2), 9 * (1 + trace), 9]
        assert Gae(lam=0.95).psi(rollout, value, GAMMA)[:3, 0].tolist() == pytest.approx(wanted, rel=1e-5)
        returns = [1 + 0.9 * (2 + 0.9 * 39), 2 + 0.9 * 39, 39]  # 39 = 3 + 0.9·40
        psi = ValueBaseline().psi(rollout, value, GAMMA)[:3, 0].tolist()
        assert psi == pytest.approx([g - v for g, v in zip(returns, (10, 20, 30), strict=True)], rel=1e-5)
        for target, wanted in {"mc": returns, "td0": [19, 29, 39], "n_step": returns}.items():
            actual = Fitted(target=target, n=5).targets(rollout, value, GAMMA)[:3, 0]
            assert actual.tolist() == pytest.approx(wanted, rel=1e-5), target


def test_negative_controls_give_the_well_known_wrong_numbers() -> None:
    """−27: taken for a termination; 0: V(sₜ) in place of V(sₜ₊₁); 63: the reset observation in its place."""
    rollout = collected(Steps(7))
    value = table(rollout)
    as_termination = replace(rollout, terminated=rollout.ended)
    assert delta(as_termination, value)[2] == pytest.approx(-27)
    assert delta(rollout, with_final(value, value[2]))[2] == pytest.approx(0, abs=1e-5)
    assert delta(rollout, with_final(value, value[4]))[2] == pytest.approx(63)


def with_final(value: torch.Tensor, final: torch.Tensor) -> torch.Tensor:
    """V(s₄), the value of the final observation, replaced."""
    return torch.cat([value[:3], final[None], value[4:]])


def test_a_real_termination_does_not_bootstrap() -> None:
    rollout = collected(Steps(7), end="terminated")
    assert delta(rollout, table(rollout))[2] == pytest.approx(-27)


def test_termination_and_truncation_at_once_is_a_termination() -> None:
    """An episode that reaches its end on the very step of its time limit has nothing after it."""
    script = Script([0.0, 4.0], [FIRST, [(0.0, 5.0)] * 9], ["terminated", "truncated"])
    play = script.step
    script.step = lambda action: (*(out := play(action))[:3], out[2] or out[3], {})
    rollout, _ = Steps(7).collect(small_policy(1, 2), started(script), draw(), NoRewardScale())
    assert delta(rollout, table(rollout))[2] == pytest.approx(-27)


# --- the ring world -----------------------------------------------------------------------------------------

RING = [
    "algo=a2c",
    "env=ProbeRing-v0",
    "env.num_envs=8",
    "sampler.steps=20",
    "gamma=0.9",
    "optimizer.lr=1e-3",
    "critic.optimizer.lr=0.01",
    "network.hidden=[16]",
    "trainer.total_steps=24000",
    "logger.every=1000",
]
PLACES = torch.eye(8).tolist()


class Mistaken(OnPolicy):
    """A sampler that reports every truncation as a termination."""

    def __init__(self, sampler: Steps):
        self.sampler = sampler

    def collect(self, *args):
        rollout, finished = self.sampler.collect(*args)
        return replace(rollout, terminated=rollout.ended), finished


def ring(folder: Path, *, wrong: bool = False) -> list[float]:
    """V in each place after training."""
    run = built(*RING)
    run.sampler = Mistaken(run.sampler) if wrong else run.sampler
    train_run(run, folder)
    return values(run, PLACES)


def test_ring_world_is_worth_one_over_one_minus_gamma(tmp_path) -> None:
    """±0.5 for a critic that is still moving; the wrong treatment below is 4.3 to 9 away."""
    assert ring(tmp_path) == pytest.approx([10] * 8, abs=0.5)


def test_ring_world_with_truncation_taken_for_termination_misses_it(tmp_path) -> None:
    """(1 − γᵏ)/(1 − γ) with k steps left: 5.7 in the first place, 1 in the last."""
    actual = ring(tmp_path, wrong=True)
    assert actual == pytest.approx([(1 - GAMMA**k) / (1 - GAMMA) for k in range(8, 0, -1)], abs=0.5)
    assert max(actual) < 7
