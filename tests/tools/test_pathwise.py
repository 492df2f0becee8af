"""The pathwise gradient on LQ1 beside closed forms of its mean and, for one step, of both variances."""

from __future__ import annotations

import itertools
import math

import gymnasium as gym
import numpy as np
import pytest

from pgrun.envs.problems.teaching_continuous import LinearQuadratic
from pgrun.tools.study.pathwise import find_no_derivatives
from tests.helpers.support_study import study

ENV = "env=pgrun/LQ1-v0 network.hidden=[] network.bias=false critic=none"
LINE = f"{ENV} schemes=[reward_to_go] pathwise=true"


def one_step_variances(p: LinearQuadratic, k: float, sigma: float) -> tuple[float, float]:
    """(of the pathwise gradient, of the score function's) for H = 1 and one episode; s ~ N(0, 1)."""
    c, r, s = p.Q + p.R * k**2, p.R, sigma
    pathwise = 4 * r**2 * (2 * k**2 + s**2) + 4 * r**2 * s**2 * (k**2 + 2 * s**2)
    by_k = (15 * c**2 + 36 * r**2 * k**2 * s**2 + 15 * r**2 * s**4 + 18 * c * r * s**2) / s**2
    by_std = 6 * c**2 + 40 * r**2 * k**2 * s**2 + 78 * r**2 * s**4 + 20 * c * r * s**2
    return pathwise, by_k - 4 * r**2 * k**2 + by_std - 4 * r**2 * s**4


def test_the_variances_of_one_step_by_quadrature() -> None:
    """Gauss–Hermite sums are exact for polynomials of this degree."""
    p, k, sigma = LinearQuadratic(Q=0.7, R=1.3), -0.4, 0.6
    x, w = np.polynomial.hermite_e.hermegauss(12)
    w = w / w.sum()
    sums = np.zeros((2, 2, 2))  # (pathwise, score) × (mean, square) × (k, log σ)
    for (s, ws), (e, we) in itertools.product(zip(x, w, strict=True), repeat=2):
        a = k * s + sigma * e
        r = -(p.Q * s**2 + p.R * a**2)
        for n, g in enumerate(
            (np.array([-2 * p.R * a * s, -2 * p.R * a * sigma * e]), r * np.array([e * s / sigma, e**2 - 1]))
        ):
            sums[n] += ws * we * np.stack([g, g**2])
    assert np.allclose(sums[0, 0], sums[1, 0]), "the same mean"
    assert sums[:, 0] == pytest.approx(np.tile([-2 * p.R * k, -2 * p.R * sigma**2], (2, 1)))
    variances = (sums[:, 1] - sums[:, 0] ** 2).sum(1)
    assert one_step_variances(p, k, sigma) == pytest.approx(tuple(variances))


@pytest.mark.parametrize("log_std", [-0.5, -2.0])
def test_one_step(log_std: float) -> None:
    """The initial k is ±0.01: both variances, and both means, within four standard errors."""
    line = f"{LINE} gamma=1 env.max_episode_steps=1 network.log_std={log_std} batch=5 episodes=10000"
    schemes = study(line)["schemes"]
    expected = one_step_variances(LinearQuadratic(), 0.01, math.exp(log_std))
    for name, variance in zip(("pathwise", "reward_to_go"), expected, strict=True):
        entry = schemes[name]
        assert abs(entry["variance"] - variance / 5) < 4 * entry["variance_se"], (name, entry)
        assert abs(entry["bias_z"]) < 4
        assert entry["claim"] == "unbiased"
    assert schemes["pathwise"]["variance"] < 0.1 * schemes["reward_to_go"]["variance"]


def test_through_three_steps_of_noisy_dynamics() -> None:
    """The exact ∇J is the mean; to leave the dynamics out would be off by far more than its noise."""
    line = f"{LINE} gamma=0.9 env.max_episode_steps=3 env.kwargs.noise=0.5 batch=5 episodes=4000"
    result = study(line)
    entry = result["schemes"]["pathwise"]
    assert result["reference"] == "exact"
    assert abs(entry["bias_z"]) < 4
    assert entry["bias_norm"] < 4 * entry["bias_noise"] < 0.2 * result["reference_norm"]
    assert entry["variance"] < result["schemes"]["reward_to_go"]["variance"]


def test_it_is_refused_elsewhere() -> None:
    (said,) = find_no_derivatives(gym.make("FrozenLake-v1"), "FrozenLake-v1")
    assert said.sentence() == (
        "pathwise=true: needs the derivatives of the problem, and env=FrozenLake-v1 has none: "
        "env=pgrun/LQ1-v0"
    )
    assert list(find_no_derivatives(gym.make("pgrun/LQ1-v0"), "pgrun/LQ1-v0")) == []
