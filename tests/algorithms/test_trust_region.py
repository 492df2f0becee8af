"""TRPO's promise judged from outside, and natural steps where gradients vanish."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_natural import batch_of, learner_of, policy_of

from pgrun.algorithms.euclidean_pg import EuclideanPg
from pgrun.algorithms.npg import Npg
from pgrun.algorithms.trpo import Trpo
from pgrun.optimization.natural_gradient import conjugate_gradient, in_float64, mean_kl
from pgrun.policies.distributions import Categorical, Gaussian
from pgrun.policies.policy import Policy

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from trust_region import report, updates

SMALL = ("env.num_envs=8", "sampler.steps=32", "critic.minibatches=2", "diagnostics.gradient_every=0")

pytestmark = pytest.mark.usefixtures("differentiable")


@pytest.mark.parametrize("env", ["HalfCheetah-v5", "CartPole-v1"])
def test_trpo_stays_inside_the_radius_and_improves_the_surrogate(env: str) -> None:
    actual = report(*updates("algo=trpo", f"env={env}", "trainer.total_steps=10000", *SMALL))
    assert actual["updates"] >= 30
    assert (
        actual["kl within delta"] == 1
    )  # no tolerance: the algorithm's float64 and this one differ by 1e-14 of it
    assert actual["surrogate improved"] == 1
    assert actual["accepted"] >= 0.9
    assert actual["median kl / delta"] >= 0.5


def test_without_the_line_search_the_same_judge_finds_steps_beyond_the_radius() -> None:
    actual = report(*updates("algo=npg", "env=HalfCheetah-v5", "trainer.total_steps=5000", *SMALL))
    assert actual["kl within delta"] < 0.9
    assert actual["largest kl / delta"] > 1.01


@pytest.mark.slow
def test_trpo_keeps_its_promise_over_a_whole_run() -> None:
    actual = report(*updates("algo=trpo", "env=HalfCheetah-v5", "trainer.total_steps=200000"))
    assert actual["kl within delta"] == actual["surrogate improved"] == 1
    assert actual["accepted"] >= 0.9
    assert actual["median kl / delta"] >= 0.5


def in_float32(policy: Policy, batch):
    """Both as a run has them."""
    names = [name for name, x in vars(batch).items() if torch.is_tensor(x) and x.is_floating_point()]
    small = replace(batch, **{name: getattr(batch, name).float() for name in names})
    return Policy(policy.net, policy.dist, policy.theta.float(), policy.normaliser), small


def test_float32_is_too_coarse_for_a_small_radius_and_the_check_is_not() -> None:
    wide = policy_of(Gaussian(2), hidden=(16,))
    policy, batch = in_float32(wide, batch_of(wide, 500))
    twin, exact = in_float64(policy, batch)
    policy.theta += 1e-5
    twin.theta.copy_(policy.theta)
    coarse, fine = float(mean_kl(policy, batch)), float(mean_kl(twin, exact))
    assert 1e-10 < fine < 1e-7  # a mean of rows that are differences of terms of size 1, each rounded by 1e-7
    assert abs(coarse / fine - 1) > 0.05


def test_trpo_holds_a_radius_that_float32_cannot_resolve() -> None:
    accepted = 0.0
    for seed in range(10):
        wide = policy_of(Gaussian(2), seed=seed)
        policy, batch = in_float32(wide, batch_of(wide))
        twin, exact = in_float64(policy, batch)
        trpo = Trpo(delta=1e-8, damping=1e-6, iterations=30)
        trpo.improve(batch, learner_of(policy))
        accepted += float(trpo.told["step/accepted"])
        twin.theta.copy_(policy.theta)
        assert mean_kl(twin, exact) <= 1e-8
    assert accepted >= 5


def test_in_float64_does_not_share_memory() -> None:
    policy = policy_of(Categorical(3))
    batch, before = batch_of(policy), policy.theta.clone()
    twin, _ = in_float64(policy, batch)
    twin.theta.zero_()
    assert torch.equal(policy.theta, before)


STEPS = {
    "npg": Npg(),
    "npg, no damping": Npg(damping=0.0),
    "npg, fixed": Npg(step="fixed"),
    "npg, sampled": Npg(fisher="sampled", damping=0.0),
    "npg, dense": Npg(solver="dense", damping=0.0),
    "trpo": Trpo(),
    "trpo, no damping": Trpo(damping=0.0),
    "euclidean_pg": EuclideanPg(),
    "euclidean_pg, squared": EuclideanPg(ball="squared"),
}  # in float32, as in a run


@pytest.mark.parametrize("name", STEPS)
def test_a_zero_gradient_is_a_zero_step(name: str) -> None:
    wide = policy_of(Gaussian(2))
    policy, batch = in_float32(wide, batch_of(wide))
    before = policy.theta.clone()
    algorithm = STEPS[name]
    algorithm.improve(replace(batch, psi=torch.zeros_like(batch.psi)), learner_of(policy))
    assert torch.equal(policy.theta, before)
    assert all(torch.isfinite(x) for x in algorithm.scalars().values())


@pytest.mark.parametrize("size", [1e-12, 1e-20, 1e-30, 1e-44])
@pytest.mark.parametrize("name", STEPS)
def test_a_vanishing_gradient_is_a_finite_step(name: str, size: float) -> None:
    """Squares underflow from 1e-19 down, products before that."""
    wide = policy_of(Gaussian(2))
    policy, batch = in_float32(wide, batch_of(wide))
    algorithm = STEPS[name]
    algorithm.improve(replace(batch, psi=batch.psi * size), learner_of(policy))
    assert torch.isfinite(policy.theta).all()
    assert all(torch.isfinite(x) for x in algorithm.scalars().values())


def test_conjugate_gradient_stops_where_there_is_no_curvature() -> None:
    a = torch.diag(torch.tensor([1.0, 0.0]))  # b has a part in the null space: no solution
    solution = conjugate_gradient(lambda v: a @ v, torch.tensor([1.0, 1.0]), 10)
    assert torch.isfinite(solution.x).all()
    nothing = conjugate_gradient(torch.zeros_like, torch.ones(3), 10)
    assert torch.equal(nothing.x, torch.zeros(3))
    assert nothing.residual == 1
