"""TwoGaussians and LQ1: what the package calls exact, beside finite differences, the environment itself, and
its own natural steps.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.euclidean_pg import EuclideanPg
from pgrun.algorithms.npg import Npg
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.problems.registration import registry
from pgrun.envs.problems.teaching_continuous import LinearQuadratic
from pgrun.optimization.natural_gradient import fisher_product
from pgrun.policies.distributions import Gaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.types import Batch, Rollout
from tests.helpers.support_pipeline import draw, trained

HORIZON = 20
SETTINGS = {
    "plain": {},
    "all different": {"A": 0.9, "B": 0.7, "Q": 2.0, "R": 0.5, "noise": 0.3, "start": 1.5},
}
POINTS = [(-0.6, 0.5), (-0.1, 1.2), (0.1, 0.3), (-1.7, 0.05)]  # (k, σ); A + Bk is 1.1 and −0.7 at two of them
problems = pytest.mark.parametrize("constants", SETTINGS.values(), ids=SETTINGS)


def linear(k: float, sigma: float) -> Policy:
    """a ~ N(k s, σ²)"""
    theta = torch.tensor([k, math.log(sigma)], dtype=torch.float64)
    return Policy(Mlp([1, 1], free=1, bias=False), Gaussian(1), theta, NoStateNorm())


@pytest.mark.parametrize("name", ["pgrun/TwoGaussians-v0", "pgrun/LQ1-v0"])
def test_gymnasium_accepts_it_and_nothing_scales_its_actions(name: str) -> None:
    assert name in registry
    env = gym.make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have bounds
        check_env(env.unwrapped, skip_render_check=True)
    assert np.isinf(env.action_space.low).all()
    actions = np.array([[-7.5], [1e6]])
    assert np.array_equal(make_envs(EnvSettings(name, 1), 1).decode(actions), actions)


# --- LQ1 ----------------------------------------------------------------------------------------------------


@problems
@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_gradient_against_finite_differences(constants: dict[str, float], gamma: float) -> None:
    """Central, step 1e-5: truncation about 1e-10 and cancellation 1e-11, relative to values of up to 10³."""
    p, h = LinearQuadratic(**constants), 1e-5
    for k, sigma in POINTS:
        gradient = p.gradient(k, sigma, gamma, HORIZON)
        slopes = (
            (p.objective(k + h, sigma, gamma, HORIZON) - p.objective(k - h, sigma, gamma, HORIZON)) / (2 * h),
            (p.objective(k, sigma + h, gamma, HORIZON) - p.objective(k, sigma - h, gamma, HORIZON)) / (2 * h),
        )
        assert gradient == pytest.approx(slopes, rel=1e-6)


def test_objective_of_one_and_two_steps_by_hand() -> None:
    """k = −½, σ = 2, E s₀² = 1: −(1.25 + 4), and E s₁² = ¼ + 4, so that step 2 costs 1.25 · 4.25 + 4."""
    p = LinearQuadratic()
    assert p.objective(-0.5, 2.0, 0.9, 1) == pytest.approx(-5.25)
    assert p.objective(-0.5, 2.0, 0.9, 2) == pytest.approx(-5.25 - 0.9 * 9.3125)


def test_the_best_k_is_the_riccati_equations() -> None:
    """P² = P + 1, k = −P/(1 + P), J = −P E s₀²; 60 steps at |A + Bk| = 0.38 are as good as
    infinitely many.
    """
    golden = (1 + 5**0.5) / 2
    assert LinearQuadratic().objective(-golden / (1 + golden), 0.0, 1.0, 60) == pytest.approx(
        -golden, abs=1e-12
    )
    assert LinearQuadratic().gradient(-golden / (1 + golden), 0.0, 1.0, 60) == pytest.approx(
        (0, 0), abs=1e-12
    )


def test_grids_broadcast() -> None:
    k, sigma = np.meshgrid([-0.6, -0.1], [0.5, 1.2, 2.0])
    direction = LinearQuadratic().natural(k, sigma, 0.9, HORIZON)
    assert direction[0].shape == (3, 2)
    one = LinearQuadratic().natural(-0.1, 2.0, 0.9, HORIZON)
    assert (direction[0][2, 1], direction[1][2, 1]) == pytest.approx(one, rel=1e-12)


def played(constants: dict[str, float], policy: Policy, episodes: int) -> Rollout:
    envs = make_envs(EnvSettings("pgrun/LQ1-v0", 1, kwargs=constants), 8)
    envs.reset(list(range(8)))
    return Episodes(episodes).collect(policy, envs, draw(3), NoRewardScale())[0]


@problems
def test_the_environment_earns_the_objective(constants: dict[str, float]) -> None:
    """Discounted returns, and the gradient from scores and rewards to go in (k, log σ), of 2000 episodes;
    every row of E s².

    |z| < 4.5 for 4 numbers: chance 3e-5. The seeds are fixed, so that it passes always or never.
    """
    k, sigma, gamma, p = -0.45, 0.7, 0.9, LinearQuadratic(**constants)
    policy = linear(k, sigma)
    rollout = played(constants, policy, 2000)
    assert rollout.mask.all()
    assert len(rollout.mask) == HORIZON
    discounted = gamma**rollout.time * rollout.reward
    s, a = rollout.obs[:-1, :, 0], rollout.action[..., 0]
    to_go = less_noisy(discounted.flip(0).cumsum(0).flip(0), s**2)
    scores = ((a - k * s) * s / sigma**2, ((a - k * s) / sigma) ** 2 - 1)
    by_k, by_sigma = p.gradient(k, sigma, gamma, HORIZON)
    expected = (p.objective(k, sigma, gamma, HORIZON), by_k, sigma * by_sigma)
    for sample, exact in zip(
        (discounted.sum(0), *((g * to_go).sum(0) for g in scores)), expected, strict=True
    ):
        assert abs(z(sample, exact)) < 4.5
        assert abs(z(sample, 1.5 * exact)) > 4.5  # what it would tell
    curvature = p.fisher(k, sigma, HORIZON)
    assert abs(z((s**2 / sigma**2).mean(0), curvature[0])) < 4.5
    batch = SimpleNamespace(obs=rollout.obs[:-1].flatten(0, 1), mask=rollout.mask.flatten())
    diagonal = [
        fisher_product(policy, batch, 0.0)(e)[i] for i, e in enumerate(torch.eye(2, dtype=torch.float64))
    ]
    assert float(diagonal[0]) == pytest.approx(float((s**2).mean() / sigma**2))
    assert float(diagonal[1]) == pytest.approx(sigma**2 * curvature[1])  # in log σ: 2


def less_noisy(to_go: Tensor, squares: Tensor) -> Tensor:
    """Less a baseline, per time step the best α + βs²: as it is fitted to 2000 episodes, each has a say of
    1/1000 in its own.
    """
    centred = squares - squares.mean(1, keepdim=True)
    slope = (centred * to_go).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True)
    return to_go - to_go.mean(1, keepdim=True) - slope * centred


def z(sample: Tensor, expected: float) -> float:
    return float((sample.mean() - expected) / (sample.std() / len(sample) ** 0.5))


def test_the_natural_field_points_to_the_optimum_and_the_plain_one_does_not() -> None:
    """Over k ∈ [−1.5, −0.05], σ ∈ [0.1, 1]: the angle to (−0.615, 0), the best of γ = 0.99.

    At most 25° natural, 63° plain.

    Where σ is small the plain gradient goes almost straight for k or for σ, whichever is steeper
    (Peters & Schaal 2008).
    """
    p = LinearQuadratic()
    k, sigma = np.meshgrid(np.linspace(-1.5, -0.05, 15), np.linspace(0.1, 1.0, 10))
    towards = np.stack([-0.615 - k, -sigma])

    def angles(field: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        cosine = (np.stack(field) * towards).sum(0) / np.hypot(*field) / np.hypot(*towards)
        return np.degrees(np.arccos(cosine))

    natural, plain = (angles(f(k, sigma, 0.99, HORIZON)) for f in (p.natural, p.gradient))
    assert natural.max() < 30
    assert plain.max() > 60


def test_lq1_trains(tmp_path: Path) -> None:
    """To within 0.3 of the best −1.618 E s₀² that σ = 0 has on the same starts; it begins near −30."""
    words = ("env=pgrun/LQ1-v0", "algo=reinforce", "network.hidden=[]", "network.bias=false", "gamma=1.0")
    run, summary = trained(
        tmp_path, *words, "optimizer.lr=0.02", "trainer.total_steps=30000", "trainer.eval_episodes=20"
    )
    k = float(run.policy.theta[0])
    assert run.policy.theta.shape == (2,)
    assert -0.75 < k < -0.5
    assert summary["eval"]["return_mean"] > -3


# --- TwoGaussians -------------------------------------------------------------------------------------------


def stepped(sigma: float, algorithm: Algorithm) -> tuple[float, float, float]:
    """(Δμ, Δlog σ, KL old‖new) after the algorithm's own update with the exact gradient, from μ = 0.

    Actions ±σ at even odds are Gauss–Hermite's two points: means of polynomials up to the third degree are
    exact, and reward × score is of the third.
    """
    policy = linear(0.0, sigma)
    action, ones = torch.tensor([[-sigma], [sigma]], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    obs = ones[:, None]
    old = policy.params(obs)
    reward = torch.tensor([gym.make("pgrun/TwoGaussians-v0").unwrapped.step(a)[1] for a in action.numpy()])
    batch = Batch(
        obs=obs, action=action, log_prob=policy.dist.log_prob(old, action), params=old, psi=reward.double(),
        mask=ones, value=0 * ones, target=0 * ones, count=2.0,
    )  # fmt: skip
    critic = SimpleNamespace(joint_delta=lambda out, batch: 0.0)
    before = policy.theta.clone()
    algorithm.improve(batch, Learner(policy, critic, None, torch.Generator()))
    moved = (policy.theta - before).tolist()
    return (*moved, float(policy.dist.kl(old, policy.params(obs))[0]))


@pytest.mark.parametrize(("sigma", "kl"), [(0.3, 5.5556), (3.0, 0.0556)])
def test_one_unit_of_distance_is_another_policy_at_another_sigma(sigma: float, kl: float) -> None:
    shift, spread, actual = stepped(sigma, EuclideanPg(radius=1.0))
    assert (shift, spread) == pytest.approx((1.0, 0.0), abs=1e-12)
    assert actual == pytest.approx(1 / (2 * sigma**2), rel=1e-12)
    assert round(actual, 4) == kl


@pytest.mark.parametrize("sigma", [0.3, 3.0])
@pytest.mark.parametrize("radius", [0.001, 0.5])
def test_a_natural_step_has_its_kl_at_any_sigma(sigma: float, radius: float) -> None:
    """Exactly: in μ alone the KL is quadratic."""
    shift, spread, actual = stepped(sigma, Npg(delta=radius, damping=0.0, solver="dense"))
    assert (shift, spread) == pytest.approx((sigma * math.sqrt(2 * radius), 0.0), abs=1e-12)
    assert actual == pytest.approx(radius, rel=1e-12)


def test_two_gaussians_train(tmp_path: Path) -> None:
    """μ goes up without end."""
    words = ("env=pgrun/TwoGaussians-v0", "algo=euclidean_pg", "network.hidden=[]", "network.bias=false")
    _, summary = trained(
        tmp_path, *words, "algo.radius=0.1", "variance=value_baseline", "trainer.total_steps=20480"
    )
    assert summary["eval"]["return_mean"] > 0.5
