"""pgrun-study on OneState: every closed form of variance and bias, within four
standard errors of the study itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.helpers.support_slow import slow_but
from tests.helpers.support_study import study

THETAS = pytest.mark.parametrize("theta", slow_but([0.7], [0.3, 0.5, 0.7]))
# Episodes of 200 steps: 0.7²⁰⁰ = 1e-31. Only the test at θ = 0.9 keeps the usual 10 000.
ENV = "env=pgrun/OneState-v0 gamma=1 env.num_envs=256"
SHORT = f"{ENV} env.max_episode_steps=200"


def logits(theta: float) -> float:
    """Σ(∂θ/∂logit)²: variances of dJ/dθ times this are those of a softmax of two logits."""
    return 2 * (theta * (1 - theta)) ** 2


def closed_forms(theta: float, lam: float) -> dict[str, float]:
    """Variance of the one-episode estimator of dJ/dθ, by hand."""
    q = 1 - theta
    return {
        "none": (4 * theta**2 + 8 * theta + 1) / (theta * q**4),
        "reward_to_go": (theta**2 + 3 * theta + 1) / (theta * q**4),
        "value_baseline": (1 + theta) / (theta * q**4),
        "q": 1 / (theta * q**4),
        "advantage": 1 / (theta * q**2),
        "td0": 1 / (theta * q**2),
        f"gae lam={lam:g}": (1 + lam * theta) / (theta * q**2 * (1 - lam * theta) * (1 - lam**2 * theta)),
    }


def off(entry: dict[str, Any], expected: float) -> float:
    """Standard errors between a variance and what it should be."""
    return (entry["variance"] - expected) / entry["variance_se"]


@pytest.fixture(scope="module")
def with_exact_critic() -> Callable[[float], dict[str, Any]]:
    names = "schemes=[none,reward_to_go,value_baseline,q,advantage,td0,{gae:{lam:0.8}}]"
    line = f"{SHORT} critic=exact batch=1 episodes=40000 {names}"
    return cache(lambda theta: study(f"{line} policy.theta={theta}"))


@THETAS
def test_variances_with_the_exact_critic(
    theta: float, with_exact_critic: Callable[[float], dict[str, Any]]
) -> None:
    schemes = with_exact_critic(theta)["schemes"]
    for label, variance in closed_forms(theta, 0.8).items():
        entry = schemes[label]
        assert abs(off(entry, logits(theta) * variance)) < 4, (label, entry)
        assert entry["claim"] == "unbiased"
        assert abs(entry["bias_z"]) < 4, (label, entry)
        assert abs(off(entry, 2 * logits(theta) * variance)) > 10, "a wrong factor would be seen"


@THETAS
def test_the_gradient_and_the_return_are_those_of_the_oracle(
    theta: float, with_exact_critic: Callable[[float], dict[str, Any]]
) -> None:
    result = with_exact_critic(theta)
    assert result["reference"] == "exact"
    rounding = 1e-9  # 200 steps of float64; the time limit is never met
    assert result["reference_norm"] == pytest.approx(
        math.sqrt(logits(theta)) / (1 - theta) ** 2, rel=rounding
    )
    policy = result["policy"]
    assert policy["objective_exact"] == pytest.approx(theta / (1 - theta), rel=rounding)
    assert abs(policy["return_mean"] - theta / (1 - theta)) < 4 * policy["return_se"]


@pytest.mark.parametrize("batch", [2, 5])
@THETAS
def test_leave_one_out_and_the_mean_at_a_batch_size(theta: float, batch: int) -> None:
    """With ρ = r − E r the estimate is the sample covariance of r and B over N episodes, hence

        Var = Var(ρB)/N + (σ_r²σ_B² + ‖∇J‖²)/(N(N − 1)),

    and mean_baseline is (N − 1)/N of it, vector for vector.
    """
    line = (
        f"{SHORT} critic=none policy.theta={theta} batch={batch} episodes=60000 "
        "schemes=[leave_one_out,mean_baseline]"
    )
    schemes = study(line)["schemes"]
    q, n = 1 - theta, batch
    alone = (theta**2 + 6 * theta + 1) / (theta * q**4)
    product = theta / q**2 * 1 / (theta * q**2) + 1 / q**4
    expected = logits(theta) * (alone / n + product / (n * (n - 1)))
    assert abs(off(schemes["leave_one_out"], expected)) < 4
    if n == 2:  # 12 to 20 % of the variance, and the standard error of 30 000 estimates 4 %
        assert off(schemes["leave_one_out"], logits(theta) * alone / n) > 3, "the second term is seen"
    assert abs(schemes["leave_one_out"]["bias_z"]) < 4
    shrunk = schemes["mean_baseline"]
    assert shrunk["variance"] == pytest.approx(((n - 1) / n) ** 2 * schemes["leave_one_out"]["variance"])
    missing = math.sqrt(logits(theta)) / q**2 / n
    assert abs(shrunk["bias_along"] + missing) < 4 * shrunk["bias_se"]
    assert shrunk["bias_z"] < -10


@pytest.mark.parametrize("returns", ["whole", "reward_to_go"])
@THETAS
def test_optimal_baseline(theta: float, returns: str) -> None:
    """b̂ from the N − 1 others adds [Var(h)σ_B² + E[hB]²]/(N(N − 1)), h = (X − b*B)B/σ_B², to what the best
    constant leaves: 4/(1−θ)⁴ or, with reward-to-go, 1/(1−θ)⁴; the ratio's own curvature is O(N⁻³) beside
    that.
    """
    n = 100
    line = f"{SHORT} critic=none policy.theta={theta} batch={n} episodes=100000"
    schemes = study(f"{line} schemes=[{{optimal_baseline:{{returns:{returns}}}}}]")["schemes"]
    (entry,) = schemes.values()
    left = {"whole": 4, "reward_to_go": 1}[returns] / (1 - theta) ** 4
    expected = logits(theta) * (left / n + of_estimating(theta, returns) / (n * (n - 1)))
    assert abs(off(entry, expected)) < 4, (entry, expected)
    assert abs(entry["bias_z"]) < 4


def of_estimating(theta: float, returns: str) -> float:
    """Var(h)σ_B² + E[hB]², in dJ/dθ: a sum over the lengths L of an episode, L − 1
    times staying (score 1/θ) and once not.
    """
    length = np.arange(1, 3000)
    p = theta ** (length - 1) * (1 - theta)
    b = (length - 1) / theta - 1 / (1 - theta)
    to_go = length * (length - 1) / 2 / theta  # Σₜ Gₜgₜ, Gₜ = L − 1 − t; the last is 0
    x = (length - 1) * b if returns == "whole" else to_go
    squares = (p * b**2).sum()
    best = (p * x * b).sum() / squares
    assert best == pytest.approx((1 + 2 * theta if returns == "whole" else 1 + theta) / (1 - theta))
    h = (x - best * b) * b / squares
    return (p * h**2).sum() * squares + (p * h * b).sum() ** 2


def test_bias_and_variance_of_n_step_with_a_wrong_critic() -> None:
    """θ = 0.5, V̂ = 0.8: n-step bias Dθⁿ⁻¹/(1 − θ) with D = −0.2; the variances were summed over episode
    lengths by hand.
    """
    variances = {1: 8.0, 2: 20.8, 4: 40.4, 8: 52.9, 16: 54.7}
    names = ",".join(f"{{n_step:{{n:{n}}}}}" for n in variances)
    line = f"{SHORT} critic=scaled critic.factor=0.8 policy.theta=0.5 batch=1 episodes=40000"
    schemes = study(f"{line} schemes=[{names}]")["schemes"]
    for n, variance in variances.items():
        entry = schemes["n_step" if n == 5 else f"n_step n={n}"]
        rounding = 0.05 / variance  # of the values above
        assert (
            abs(off(entry, logits(0.5) * variance)) < 4 + rounding * entry["variance"] / entry["variance_se"]
        )
        bias = -0.2 * 0.5 ** (n - 1) / 0.5 * math.sqrt(logits(0.5))
        assert abs(entry["bias_along"] - bias) < 4 * entry["bias_se"], n
        assert entry["claim"] == "biased where the critic is wrong"


def test_bias_of_gae_with_a_wrong_critic() -> None:
    """D(1 − λ)/((1 − θ)(1 − λθ)), D = 0.2·θ/(1 − θ); λ = 1 has none."""
    for theta in (0.3, 0.7):
        line = f"{SHORT} critic=scaled critic.factor=1.2 policy.theta={theta} batch=10 episodes=40000"
        schemes = study(f"{line} schemes=[{{gae:{{lam:0}}}},{{gae:{{lam:0.5}}}},{{gae:{{lam:1}}}}]")[
            "schemes"
        ]
        for lam in (0, 0.5, 1):
            entry = schemes[f"gae lam={lam}"]
            d = 0.2 * theta / (1 - theta)
            bias = d * (1 - lam) / ((1 - theta) * (1 - lam * theta)) * math.sqrt(logits(theta))
            assert abs(entry["bias_along"] - bias) < 4 * entry["bias_se"], (theta, lam)
            assert (abs(entry["bias_z"]) > 4) == (lam < 1)


@pytest.mark.slow
def test_lambda_095_balances_and_zero_wins_with_the_exact_critic() -> None:
    """θ = 0.9, 100 episodes, critic 20 % high: the mean squared errors of claim 12, in units of dJ/dθ."""
    errors = {0: 325, 0.5: 272, 0.8: 181, 0.9: 125, 0.95: 105, 0.99: 140, 1: 175}
    names = ",".join("gae" if lam == 0.95 else f"{{gae:{{lam:{lam}}}}}" for lam in errors)
    line = f"{ENV} policy.theta=0.9 batch=100 episodes=200000 schemes=[{names}]"
    labels = {lam: "gae" if lam == 0.95 else f"gae lam={lam}" for lam in errors}
    schemes = study(f"{line} critic=scaled critic.factor=1.2")["schemes"]
    for lam, error in errors.items():
        entry = schemes[labels[lam]]
        assert abs(entry["mse"] / logits(0.9) - error) < 4 * spread(entry) + 0.5, lam  # 0.5: rounded above
    exact = study(f"{line} critic=exact")["schemes"]
    assert min(exact, key=lambda label: exact[label]["mse"]) == "gae lam=0"


def spread(entry: dict[str, Any]) -> float:
    """The standard error of an mse in dJ/dθ: that of the variance, and twice the bias times its own."""
    return (entry["variance_se"] + 2 * abs(entry["bias_along"]) * entry["bias_se"]) / logits(0.9)
