"""Distributions: log π, entropy and KL against torch.distributions, gradients against automatic
differentiation, samples against probabilities.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats
from torch import Tensor
from torch.autograd import grad
from torch.autograd.functional import hvp

from pgrun.policies.distributions import Bernoulli, Categorical, Gaussian, MultiCategorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm, RunningNorm
from pgrun.policies.policy import NumpyActor, Policy, TorchActor, distribution_for
from tests.helpers.support_closed import PAIRS, Pair, divergence, random_params

ROWS = 50
CLOSE = {"rtol": 0, "atol": 1e-12}  # float64, values of size 10: rounding is 1e-15 a term
pairs = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)

pytestmark = pytest.mark.usefixtures("differentiable")


def sampled(pair: Pair) -> tuple[Tensor, Tensor]:
    actions = pair.actions(ROWS, torch.Generator().manual_seed(1))
    return random_params(pair, ROWS).requires_grad_(), actions


@pairs
def test_log_prob_entropy_and_kl(pair: Pair) -> None:
    params, action = random_params(pair, ROWS), sampled(pair)[1]
    other = random_params(pair, ROWS, seed=2)
    p, q = pair.theirs(params), pair.theirs(other)
    torch.testing.assert_close(pair.ours.log_prob(params, action), p.log_prob(action), **CLOSE)
    torch.testing.assert_close(pair.ours.entropy(params), p.entropy(), **CLOSE)
    torch.testing.assert_close(pair.ours.kl(params, other), divergence(p, q), **CLOSE)
    assert (pair.ours.kl(params, other) - divergence(q, p)).abs().max() > 0.1  # the direction matters


@pairs
def test_score_and_entropy_gradient(pair: Pair) -> None:
    params, action = sampled(pair)
    p = pair.theirs(params)
    (score,) = grad(p.log_prob(action).sum(), params, retain_graph=True)
    torch.testing.assert_close(pair.ours.score(params.detach(), action), score, **CLOSE)
    (slope,) = grad(p.entropy().sum(), params, materialize_grads=True)
    torch.testing.assert_close(pair.ours.entropy_gradient(params.detach()), slope, **CLOSE)


@pairs
def test_kl_gradient_and_metric(pair: Pair) -> None:
    """∂KL(p‖q)/∂q, and the Hessian of KL at q = p times a vector."""
    p, (q, _) = pair.theirs(random_params(pair, ROWS, seed=3)), sampled(pair)
    (slope,) = grad(divergence(p, pair.theirs(q)).sum(), q)
    actual = pair.ours.kl_gradient(random_params(pair, ROWS, seed=3), q.detach())
    torch.testing.assert_close(actual, slope, **CLOSE)
    here, u = q.detach(), random_params(pair, ROWS, seed=4)
    fixed = pair.theirs(here)
    exact = hvp(lambda x: divergence(fixed, pair.theirs(x)).sum(), here, u)[1]
    torch.testing.assert_close(pair.ours.metric(here, u), exact, **CLOSE)


@pairs
def test_scores_have_mean_zero(pair: Pair) -> None:
    """Σₐ π(a) score(a) = 0 over all actions; for the Gaussian by Gauss–Hermite
    quadrature, exact for polynomials.
    """
    params = random_params(pair, 1)
    if isinstance(pair.ours, Gaussian):
        x, w = np.polynomial.hermite_e.hermegauss(8)
        grid, weight = torch.tensor(list(product(x, x))), torch.tensor([a * b for a, b in product(w, w)])
        action = params[:, :2] + params[:, 2:].exp() * grid
        weight = weight / weight.sum()
    else:
        action = all_actions(pair)
        weight = pair.theirs(params.expand(len(action), -1)).log_prob(action).exp()
    scores = pair.ours.score(params.expand(len(action), -1), action)
    torch.testing.assert_close(weight @ scores, torch.zeros(pair.ours.size, dtype=torch.float64), **CLOSE)


def all_actions(pair: Pair) -> Tensor:
    match pair.ours:
        case Categorical(size=n):
            return torch.arange(n)
        case MultiCategorical(counts=counts):
            return torch.tensor(list(product(*map(range, counts))))
        case Bernoulli(size=n):
            return torch.tensor(list(product(range(2), repeat=n)))
    raise TypeError


def drawn(pair: Pair, params: Tensor, count: int) -> Tensor:
    noise = pair.ours.noise((count,), torch.Generator().manual_seed(5), params.dtype)
    return pair.ours.act(params, noise)


# A right sampler fails these once in 10 000 seeds; the seed is fixed, so it fails never or always.
RARE = 1e-4


@pytest.mark.parametrize("name", ["categorical", "multi_categorical", "bernoulli"])
def test_samples_have_the_probabilities(name: str) -> None:
    pair, count = PAIRS[name], 100_000
    params, actions = random_params(PAIRS[name], 1), all_actions(PAIRS[name])
    expected = pair.theirs(params.expand(len(actions), -1)).log_prob(actions).exp().numpy()
    samples = drawn(pair, params, count).reshape(count, 1, -1)
    seen = (samples == actions.reshape(1, len(actions), -1)).all(-1).sum(0).numpy()
    assert seen.sum() == count
    assert stats.chisquare(seen, count * expected / expected.sum()).pvalue > RARE
    wrong = pair.theirs(1.05 * params.expand(len(actions), -1)).log_prob(actions).exp().numpy()
    assert stats.chisquare(seen, count * wrong / wrong.sum()).pvalue < RARE


def test_gaussian_samples_have_the_distribution() -> None:
    pair = PAIRS["gaussian"]
    params = random_params(pair, 1)
    samples, (mean, std) = drawn(pair, params, 100_000), params[0].view(2, 2)
    z = ((samples - mean) / std.exp()).numpy()
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > RARE
        assert stats.kstest(1.05 * column, "norm").pvalue < RARE
    assert abs(np.corrcoef(z.T)[0, 1]) < 4 / 100_000**0.5


@pairs
def test_without_noise_the_mode(pair: Pair) -> None:
    """No action is more likely."""
    params = random_params(pair, 20)
    mode = pair.ours.act(params, None)
    best = pair.theirs(params).log_prob(mode)
    for seed in range(20):
        action = pair.actions(20, torch.Generator().manual_seed(seed))
        assert (pair.theirs(params).log_prob(action) <= best + 1e-12).all()


@pytest.mark.parametrize("value_head", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("normaliser", [NoStateNorm(), RunningNorm(3)], ids=["raw", "normalised"])
@pairs
def test_numpy_acts_as_torch_does(pair: Pair, value_head: bool, activation: str, normaliser) -> None:
    """The same actions from the same noise, and without.

    Two libraries' float32 tanh differ in the last bits.
    """
    dist = pair.ours
    net = Mlp([3, 8, 8, value_head + dist.linear], activation, dist.free)
    theta = torch.randn(net.size, generator=torch.Generator().manual_seed(0)) * 0.5
    if isinstance(normaliser, RunningNorm):
        normaliser.moments.update(3 + 2 * torch.randn(100, 3), torch.ones(100))
        normaliser._refresh()
    policy = Policy(net, dist, theta, normaliser, value_head)
    obs = np.random.default_rng(0).normal(3, 2, (400, 3)).astype(np.float32)
    noise = dist.noise((400,), torch.Generator().manual_seed(1), torch.float32)
    for draw in (noise, None):
        ours, theirs = NumpyActor(policy)(obs, draw), TorchActor(policy)(obs, draw)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("space", "kind", "size"),
    [
        (spaces.Discrete(5, start=2), Categorical, 5),
        (spaces.MultiDiscrete([3, 2]), MultiCategorical, 5),
        (spaces.MultiBinary((2, 3)), Bernoulli, 6),
        (spaces.Box(-1, 1, (2, 2)), Gaussian, 8),
        (spaces.Box(-1, 1, ()), Gaussian, 2),
    ],
)
def test_distribution_for_a_space(space, kind, size) -> None:
    dist = distribution_for(space)
    assert isinstance(dist, kind)
    assert dist.size == size
