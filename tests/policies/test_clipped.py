"""The score of a clipped Gaussian: torch's gradient of its law; the plain one's mean, and less variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as td

import pgrun
from pgrun.policies.clipped import ClippedGaussian
from pgrun.policies.distributions import Gaussian
from pgrun.training.loop import collect_rollout
from tests.helpers.support_cli import pgrun as command
from tests.helpers.support_pipeline import trained

CLOSE = {"rtol": 0, "atol": 1e-11}  # float64, values of size 10
MEAN, STD = 0.4, 0.8  # 23 % of the draws beyond 1, 4 % below −1
REWARDS: dict[str, Callable[[float], float]] = {"slope": lambda a: a, "hill": lambda a: 2 - (a - 0.7) ** 2}


def test_log_prob_and_score() -> None:
    """By torch: the density within the bounds, the normal's mass beyond them, and autograd of both."""
    draw = torch.Generator().manual_seed(0)
    params = 0.3 * torch.randn(400, 4, generator=draw, dtype=torch.float64)
    u = params[:, :2] + params[:, 2:].exp() * torch.randn(400, 2, generator=draw, dtype=torch.float64)
    with torch.enable_grad():
        given = params.clone().requires_grad_()
        normal, mirrored = (td.Normal(sign * given[:, :2], given[:, 2:].exp()) for sign in (1, -1))
        below, above = (law.cdf(torch.tensor(-1.0)).log() for law in (normal, mirrored))
        theirs = torch.where(u <= -1, below, torch.where(u >= 1, above, normal.log_prob(u))).sum(-1)
        (score,) = torch.autograd.grad(theirs.sum(), given)
    assert ((u <= -1).any(), (u >= 1).any()) == (True, True)
    ours = ClippedGaussian(2)
    torch.testing.assert_close(ours.log_prob(params, u), theirs.detach(), **CLOSE)
    torch.testing.assert_close(ours.score(params, u), score, **CLOSE)


def moments(dist: Gaussian, reward: Callable[[float], float]) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance) of r(clip(u))∇log π, by adaptive integration from bound to bound."""
    params = torch.tensor([MEAN, math.log(STD)], dtype=torch.float64)

    def term(u: float, k: int, power: int) -> float:
        score = float(dist.score(params, torch.tensor([u], dtype=torch.float64))[k])
        weighted: float = reward(min(max(u, -1.0), 1.0)) * score
        return weighted**power * float(stats.norm.pdf(u, MEAN, STD))

    pieces = ((MEAN - 12 * STD, -1.0), (-1.0, 1.0), (1.0, MEAN + 12 * STD))
    first, second = (
        np.array([sum(integrate.quad(term, *piece, (k, power))[0] for piece in pieces) for k in (0, 1)])
        for power in (1, 2)
    )
    return first, second - first**2


@pytest.mark.parametrize("name", REWARDS)
def test_the_same_gradient_with_less_variance(name: str) -> None:
    """∇J itself by differences of an integral."""
    reward = REWARDS[name]

    def objective(mean: float, log_std: float) -> float:
        normal = stats.norm(mean, math.exp(log_std))
        within = integrate.quad(lambda a: reward(a) * normal.pdf(a), -1, 1)[0]
        return reward(-1.0) * normal.cdf(-1) + within + reward(1.0) * normal.sf(1)

    h, at = 1e-5, math.log(STD)
    slope = [
        (objective(MEAN + h, at) - objective(MEAN - h, at)) / (2 * h),
        (objective(MEAN, at + h) - objective(MEAN, at - h)) / (2 * h),
    ]
    (plain, noise), (clipped, less) = (moments(kind(1), reward) for kind in (Gaussian, ClippedGaussian))
    np.testing.assert_allclose(plain, slope, atol=1e-8)  # of the differences
    np.testing.assert_allclose(clipped, slope, atol=1e-8)
    assert (less < 0.95 * noise).all()


def test_kl_of_the_draws_bounds_that_of_the_actions() -> None:
    """Σ over the lumps and ∫ within of p log(p/q), against the Gaussian's, which telemetry has."""
    p, q = torch.tensor([0.9, -0.3], dtype=torch.float64), torch.tensor([1.6, 0.1], dtype=torch.float64)
    ours = ClippedGaussian(1)

    def chance(params: torch.Tensor, u: float) -> float:
        return math.exp(float(ours.log_prob(params, torch.tensor([u], dtype=torch.float64))))

    def term(u: float) -> float:
        return chance(p, u) * math.log(chance(p, u) / chance(q, u))

    exact = term(-2.0) + integrate.quad(term, -1, 1, epsabs=1e-12)[0] + term(2.0)
    assert 0 < exact < 0.8 * float(ours.kl(p, q))
    total = chance(p, -2.0) + integrate.quad(lambda u: chance(p, u), -1, 1)[0] + chance(p, 2.0)
    assert total == pytest.approx(1, abs=1e-9)


def test_far_beyond_the_bounds_there_are_numbers() -> None:
    """μ 30 σ beyond a bound, in float32, where Φ itself is 0."""
    params = torch.tensor([[31.0, 0.0], [-31.0, 0.0]])
    for u in (-40.0, 0.0, 40.0):
        action = torch.full((2, 1), u)
        assert ClippedGaussian(1).log_prob(params, action).isfinite().all()
        assert ClippedGaussian(1).score(params, action).isfinite().all()


def test_a_run_learns_and_is_loaded(tmp_path: Path) -> None:
    """Draws are kept as they were, beyond the bounds; the loaded policy has the Gaussian's density."""
    given = {"policy": {"name": "clipped"}, "env.id": "Pendulum-v1", "env.num_envs": 4, "sampler.steps": 16}
    given |= {
        "network.hidden": [8],
        "trainer.total_steps": 128,
        "trainer.eval_episodes": 1,
        "backend": "auto",
    }
    run, summary = trained(tmp_path, "algo=ppo", **given)
    assert summary["backend"] == "torch"
    rollout, _ = collect_rollout(run)
    assert rollout.action.abs().max() > 1
    assert rollout.log_prob.isfinite().all()
    dist = pgrun.load(tmp_path).policy.distribution(np.zeros(3, np.float32))
    density = stats.norm(dist.mean, dist.std).logpdf(0.7).item()
    assert dist.log_prob([0.7]) == pytest.approx(density, rel=1e-5)


def test_bounds_are_needed() -> None:
    answer = command("policy=clipped env=pgrun/LQ1-v0")
    assert answer.code == 2
    assert "take policy=gaussian or policy=state_std" in answer.err
