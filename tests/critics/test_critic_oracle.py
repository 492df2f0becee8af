"""OneState with the exact critic, and with one that is wrong by a known amount: closed forms, through the
code that trains.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from pgrun.types import Rollout
from pgrun.variance.advantage import Advantage
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.n_step import NStep
from pgrun.variance.q import Q
from pgrun.variance.reward_to_go import RewardToGo
from pgrun.variance.td0 import Td0
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_critic import each_gradient, exact_critic, moments, update_of
from tests.helpers.support_one_state import episodes, policy

THETAS = pytest.mark.parametrize("theta", [0.3, 0.5, 0.9])
EXACT = 1e-6  # relative: episodes left out have probability below 1e-10, their squared weights size 1e4


@cache
def every_episode(theta: float) -> tuple[Rollout, Tensor]:
    longest = math.ceil(math.log(1e-13) / math.log(theta))
    rollout, probability = episodes(theta, longest)
    return replace(rollout, state=torch.zeros_like(rollout.obs[..., 0], dtype=torch.int64)), probability


def of_one_episode(theta: float, scheme: Scheme, factor: float = 1.0) -> tuple[float, float]:
    """(mean, variance) of its estimate of dJ/dθ: the two logits have θ(1 − θ)(1, −1) of that."""
    rollout, probability = every_episode(theta)
    critic = exact_critic("pgrun/OneState-v0", policy(theta), factor=factor)
    gradients = each_gradient(policy(theta), rollout, critic, scheme)
    mean, variance = moments(probability, gradients)
    scale = theta * (1 - theta)
    assert float(mean.sum()) == pytest.approx(0, abs=1e-9)
    return float(mean[0]) / scale, float(variance) / (2 * scale**2)


@pytest.mark.parametrize("scheme", [Q(), Advantage(), Gae()], ids=str)
def test_it_is_what_an_update_takes(scheme: Scheme) -> None:
    rollout, _ = every_episode(0.3)
    pi = policy(0.3)
    critic = exact_critic("pgrun/OneState-v0", pi)
    each = each_gradient(pi, rollout, critic, scheme)
    for k in range(len(each)):
        one = update_of(pi, rollout.columns(torch.tensor([k])), critic, scheme)
        torch.testing.assert_close(each[k], one)


def gae_form(theta: float, lam: float) -> float:
    return (1 + lam * theta) / (theta * (1 - theta) ** 2 * (1 - lam * theta) * (1 - lam**2 * theta))


TABLE = {  # at θ = 0.5: 88, 48, 32, 8, 8, 40.96
    "reward_to_go": (RewardToGo(), lambda t: (t * t + 3 * t + 1) / (t * (1 - t) ** 4)),
    "value_baseline": (ValueBaseline(), lambda t: (1 + t) / (t * (1 - t) ** 4)),
    "q": (Q(), lambda t: 1 / (t * (1 - t) ** 4)),
    "advantage": (Advantage(), lambda t: 1 / (t * (1 - t) ** 2)),
    "td0": (Td0(), lambda t: 1 / (t * (1 - t) ** 2)),
    "n_step 1": (NStep(n=1), lambda t: 1 / (t * (1 - t) ** 2)),
    **{f"gae {lam}": (Gae(lam=lam), lambda t, lam=lam: gae_form(t, lam)) for lam in (0.0, 0.5, 0.95, 1.0)},
}


@THETAS
@pytest.mark.parametrize("name", TABLE)
def test_variance_with_the_exact_critic(name: str, theta: float) -> None:
    scheme, form = TABLE[name]
    mean, variance = of_one_episode(theta, scheme)
    assert mean == pytest.approx(1 / (1 - theta) ** 2, rel=EXACT)
    assert variance == pytest.approx(form(theta), rel=EXACT)


def test_32_and_8_beside_48() -> None:
    collected = {
        name: of_one_episode(0.5, TABLE[name][0])[1] for name in ("value_baseline", "q", "advantage")
    }
    assert collected == pytest.approx({"value_baseline": 48, "q": 32, "advantage": 8}, rel=EXACT)
    assert gae_form(0.5, 0.95) == pytest.approx(40.96, abs=0.005)


@THETAS
@pytest.mark.parametrize("n", [1, 2, 5])
def test_bias_of_n_steps(theta: float, n: int) -> None:
    """Dθⁿ⁻¹/(1 − θ) for a critic that is D too high."""
    d = 0.2 * theta / (1 - theta)
    mean, _ = of_one_episode(theta, NStep(n=n), factor=1.2)
    assert mean - 1 / (1 - theta) ** 2 == pytest.approx(d * theta ** (n - 1) / (1 - theta), rel=EXACT)


@THETAS
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_bias_of_gae(theta: float, lam: float) -> None:
    """D(1 − λ)/((1 − θ)(1 − λθ)): none at λ = 1, where every episode terminates."""
    d = 0.2 * theta / (1 - theta)
    mean, _ = of_one_episode(theta, Gae(lam=lam), factor=1.2)
    bias = d * (1 - lam) / ((1 - theta) * (1 - lam * theta))
    assert mean - 1 / (1 - theta) ** 2 == pytest.approx(bias, rel=EXACT, abs=EXACT)


def test_q_of_a_wrong_critic_is_wrong_by_its_factor() -> None:
    for scheme in (Q(), Advantage()):
        assert of_one_episode(0.5, scheme, factor=1.2)[0] == pytest.approx(1.2 * 4, rel=EXACT)


def gae_moments(theta: float, lam: float, critic: float) -> tuple[float, float]:
    """(bias, variance) of GAE with V ≡ critic, by hand.

    An episode stays K times, P(K) = θᴷ(1 − θ). With k stays to come Ψ = (1 − λᵏ)/(1 − λ) − criticλᵏ, the
    score is 1/θ, and −1/(1 − θ) at the end; so ĝ = αK + βλᴷ + a constant with α = 1/(θ(1 − λ)) and
    β = (1/(1 − λ) + critic)λ/(θ(1 − λ)).
    """
    if lam == 1:  # Gₜ − b: 1/(1 − θ)⁴ at the best b = (1 + θ)/(1 − θ), and a parabola around it
        away = critic - (1 + theta) / (1 - theta)
        return 0.0, 1 / (1 - theta) ** 4 + away**2 / (theta * (1 - theta) ** 2)
    high = 1 / (1 - lam) + critic
    alpha, beta = 1 / (theta * (1 - lam)), high * lam / (theta * (1 - lam))

    def power(x: float) -> float:
        return (1 - theta) / (1 - x * theta)  # E xᴷ

    both = (1 - theta) * lam * theta / (1 - lam * theta) ** 2  # E KλᴷK
    count = theta / (1 - theta)
    variance = alpha**2 * theta / (1 - theta) ** 2 + beta**2 * (power(lam**2) - power(lam) ** 2)
    variance += 2 * alpha * beta * (both - count * power(lam))
    mean = alpha * count - beta * (1 - power(lam)) + critic / (1 - theta)
    return mean - 1 / (1 - theta) ** 2, variance


@THETAS
@pytest.mark.parametrize("factor", [1.0, 1.2])
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.953, 1.0])
def test_gae_by_hand(theta: float, lam: float, factor: float) -> None:
    mean, variance = of_one_episode(theta, Gae(lam=lam), factor)
    bias, by_hand = gae_moments(theta, lam, factor * theta / (1 - theta))
    assert mean - 1 / (1 - theta) ** 2 == pytest.approx(bias, rel=EXACT, abs=EXACT / (1 - theta) ** 2)
    assert variance == pytest.approx(by_hand, rel=EXACT)
    if factor == 1:
        assert by_hand == pytest.approx(gae_form(theta, lam))


def mse(lam: float, factor: float, theta: float = 0.9, episodes: int = 100) -> float:
    bias, variance = gae_moments(theta, lam, factor * theta / (1 - theta))
    return bias**2 + variance / episodes


def test_which_lambda_balances() -> None:
    """θ = 0.9, a critic 20 % too high, 100 episodes: λ = 0.953. With the exact critic λ = 0 is best."""
    grid = [k / 1000 for k in range(1001)]
    best = min(grid, key=lambda lam: mse(lam, 1.2))
    assert best == 0.953
    assert [round(mse(lam, 1.2)) for lam in (best, 0, 1)] == [105, 325, 175]
    assert min(grid, key=lambda lam: mse(lam, 1.0)) == 0
