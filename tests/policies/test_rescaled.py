"""network.logit_scale: the same policies in other parameters, and what each kind of step makes of that."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.base import Learner
from pgrun.algorithms.euclidean_pg import EuclideanPg
from pgrun.algorithms.npg import Npg
from pgrun.algorithms.reinforce import Reinforce
from pgrun.critics.base import NoCritic
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.optimization.optimizers import Optimizer, Sgd
from pgrun.policies.distributions import Categorical, Gaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy, Separate, Shared
from pgrun.policies.rescaled import Rescaled
from tests.algorithms.test_natural import batch_of
from tests.helpers.support_pipeline import draw

SCALES = (0.125, 1.0, 8.0)  # powers of two, so that nothing rounds differently
STEP = {"rtol": 1e-6, "atol": 1e-9}  # the solver's tolerance


def linear(scale: float) -> Policy:
    """A linear policy on 4 inputs, the same at every scale; float64."""
    network = Separate(hidden=(), logit_scale=scale, policy_gain=0.3)
    return network.policy(4, Categorical(3), NoStateNorm(), False, draw(1), torch.float64)


def moved(algorithm, scale: float) -> tuple[float, Tensor]:
    """(KL, the new policy's logits) of one update of the same first policy on the same batch."""
    policy = linear(scale)
    batch = batch_of(policy)
    algorithm.improve(batch, Learner(policy, NoCritic(), Optimizer(policy.theta, Sgd(lr=1e-3)), draw()))
    return float(mean_kl(policy, batch)), policy.params(batch.obs)


@pytest.mark.parametrize("network", [Separate, Shared])
def test_the_first_policy_is_the_same(network) -> None:
    obs = torch.randn(5, 4, generator=draw(2))
    heads = network is Shared
    first, other = (
        network(logit_scale=c).policy(4, Gaussian(2), NoStateNorm(), heads, draw(1)) for c in (1.0, 8.0)
    )
    assert isinstance(first.net, Mlp)
    assert isinstance(other.net, Rescaled)
    assert torch.equal(first.activations(obs)[-1], other.activations(obs)[-1])
    assert not torch.equal(first.theta, other.theta)


def test_its_products_are_those_of_the_function() -> None:
    """Gradient, scores and tangent against automatic differentiation of y = c·f(x)
    with a log σ that is not scaled.
    """
    net = Mlp([4, 5, 2], free=1)
    scale = torch.tensor([3.0, 0.5, 1.0], dtype=torch.float64)
    ours = Rescaled(net, scale)
    theta, x, delta, v = (torch.randn(*n, generator=draw(k), dtype=torch.float64) for k, n in enumerate(
        [(net.size,), (6, 4), (6, 3), (net.size,)]))  # fmt: skip

    def y(t: Tensor) -> Tensor:
        return scale * net.activations(*net.layers(t), x)[-1]

    layers, free = ours.layers(theta)
    kept = ours.activations(layers, free, x)
    with torch.enable_grad():
        expected = torch.func.grad(lambda t: (y(t) * delta).sum())(theta)
        along = torch.func.jvp(y, (theta,), (v,))[1]
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(kept[-1], y(theta), **close)
    torch.testing.assert_close(ours.gradient(layers, kept, delta), expected, **close)
    summed = ours.backpropagate(layers, kept, delta).sums(torch.ones(6, dtype=torch.float64), 1)[0]
    torch.testing.assert_close(summed, expected, **close)
    torch.testing.assert_close(ours.tangent(ours.layers(v), layers, kept), along, **close)


def test_acting_is_on_the_scaled_outputs() -> None:
    policy = linear(8.0)
    obs, noise = torch.randn(50, 4, generator=draw(3)), torch.randn(50, 3, generator=draw(4))
    expected = policy.dist.act(policy.params(obs.double()), noise)
    assert (policy.actor()(obs.numpy(), noise) == expected.numpy()).all()


def test_the_natural_step_is_the_same_policy_step() -> None:
    """To ε as in the document: the same new policy, not only the same KL."""
    npg = [moved(Npg(delta=1e-4, damping=0.0, solver="dense"), c) for c in SCALES]
    for (_, a), (_, b) in pairwise(npg):
        torch.testing.assert_close(a, b, **STEP)


@pytest.mark.parametrize(("algorithm", "power"), [(EuclideanPg(radius=1e-4), 2), (Reinforce(), 4)])
def test_a_euclidean_radius_and_a_fixed_rate_are_not(algorithm, power: int) -> None:
    """g grows with c: the KL of ε g/‖g‖ with c², that of αg with c⁴ (small steps: 2 %
    is left for the third order).
    """
    kl = [moved(algorithm, c)[0] for c in SCALES]
    for small, large in pairwise(kl):
        assert large / small == pytest.approx(8**power, rel=0.02)
