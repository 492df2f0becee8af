"""Activations, initialisation, sizes apart and joint networks, against torch's own modules."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import nn

from pgrun.critics.fitted import SharedCritic
from pgrun.kernels import is_available
from pgrun.policies.activations import IN_KERNELS
from pgrun.policies.distributions import Gaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Joint, NumpyActor, Policy, Separate, Shared, TorchActor
from pgrun.training.backends import choose_backend
from pgrun.training.build import build_run
from pgrun.training.loop import make_batch
from tests.helpers.support_pipeline import settings

MODULES = {"gelu": nn.GELU(), "elu": nn.ELU(), "silu": nn.SiLU(), "tanh": nn.Tanh(), "relu": nn.ReLU()}
CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64, a hundred terms: rounding is 1e-15 of their size
activations = pytest.mark.parametrize("activation", MODULES)

pytestmark = pytest.mark.usefixtures("differentiable")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def torchs(net: Mlp, theta: torch.Tensor) -> nn.Sequential:
    """torch's own module with the same parameters, in the same order."""
    parts: list[nn.Module] = []
    for out, size in net.shapes:
        parts += [nn.Linear(size, out, dtype=theta.dtype), MODULES[net.activation]]
    module = nn.Sequential(*parts[:-1])
    nn.utils.vector_to_parameters(theta, module.parameters())
    return module


@activations
def test_products_of_a_network(activation: str) -> None:
    """Value, gradient, gradient of each row, and (∂y/∂θ)v, by torch's own differentiation."""
    net = Mlp([3, 6, 5, 2], activation)
    theta, x, delta, v = (
        random(net.size),
        random(7, 3, seed=1),
        random(7, 2, seed=2),
        random(net.size, seed=3),
    )
    layers, free = net.layers(theta)
    kept = net.activations(layers, free, x)
    module = torchs(net, theta)
    y = module(x)
    torch.testing.assert_close(kept[-1], y, **CLOSE)
    (y * delta).sum().backward()
    expected = torch.cat([p.grad.flatten() for p in module.parameters()])
    torch.testing.assert_close(net.gradient(layers, kept, delta), expected, **CLOSE)
    rows = net.backpropagate(layers, kept, delta).sums(torch.ones(7, dtype=theta.dtype), 7)
    torch.testing.assert_close(rows.sum(0), expected, **CLOSE)
    along = net.tangent(net.layers(v), layers, kept)
    torch.testing.assert_close((along * delta).sum(), expected @ v, **CLOSE)  # δᵀ(Jv) = (Jᵀδ)ᵀv


@activations
def test_actors_agree(activation: str) -> None:
    net = Mlp([3, 8, 2], activation, free=2)
    policy = Policy(net, Gaussian(2), random(net.size).float(), NoStateNorm())
    obs = random(50, 3, seed=1).float().numpy()
    acting = policy.actor()
    assert isinstance(acting, NumpyActor) is (activation not in ("gelu", "silu"))
    torch.testing.assert_close(
        torch.from_numpy(acting(obs, None)), torch.from_numpy(TorchActor(policy)(obs, None)),
        rtol=0, atol=1e-5,  # two libraries' float32
    )  # fmt: skip


def test_torchs_initialisation() -> None:
    """Weights and biases of every layer are uniform in ±1/√in, as nn.Linear's are: the same law, by KS."""
    net = Mlp([100, 400, 50])
    theta = net.init("torch", [1.0] * 50, 0.0, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    for (weight, bias), (out, size) in zip(net.layers(theta)[0], net.shapes, strict=True):
        theirs = nn.Linear(size, out)
        assert stats.kstest(weight.flatten() * size**0.5, "uniform", (-1, 2)).pvalue > 1e-4
        assert stats.ks_2samp(weight.flatten(), theirs.weight.detach().flatten()).pvalue > 1e-4
        assert stats.ks_2samp(bias, theirs.bias.detach()).pvalue > 1e-4
        assert stats.kstest(weight.flatten() * 1.05 * size**0.5, "uniform", (-1, 2)).pvalue < 1e-4
    wide = Separate(hidden=(8,), init="torch", policy_gain=0.01, logit_scale=4.0)
    policy = wide.policy(3, Gaussian(2), NoStateNorm(), False, torch.Generator().manual_seed(1))
    plain = Separate(hidden=(8,), init="torch", policy_gain=1.0)
    same = plain.policy(3, Gaussian(2), NoStateNorm(), False, torch.Generator().manual_seed(1))
    x = random(5, 3).float()
    torch.testing.assert_close(policy.params(x), same.params(x))  # another parametrisation, one first policy


@pytest.mark.parametrize("kind", [Separate, Joint])
def test_sizes_apart(kind: type) -> None:
    network = kind(hidden=(8, 4), critic_hidden=(16,))
    net, _ = network.value_net(3, torch.Generator())
    assert net.shapes == [(16, 3), (1, 16)]
    policy = network.policy(3, Gaussian(2), NoStateNorm(), kind is Joint, torch.Generator())
    actor = policy.net.actor if kind is Joint else policy.net
    assert actor.shapes == [(8, 3), (4, 8), (2, 4)]


def test_a_joint_network_is_two() -> None:
    """The joint loss's gradient is that of the parts, each by torch; no parameter has a part in both."""
    network = Joint(hidden=(6,), critic_hidden=(5, 4), activation="silu", init="torch")
    policy = network.policy(
        3, Gaussian(2), NoStateNorm(), True, torch.Generator().manual_seed(0), torch.float64
    )
    net, obs = policy.net, random(7, 3, seed=1)
    critic, actor = torchs(net.critic, policy.theta[: net.critic.size]), None
    of_actor = policy.theta[net.critic.size :]
    actor = torchs(net.actor, of_actor[: net.actor.size - 2])
    kept = policy.activations(obs)
    mean = torch.cat([critic(obs), actor(obs)], 1)
    torch.testing.assert_close(kept[-1][:, :3], mean, **CLOSE)
    delta = random(7, 5, seed=2)
    (mean * delta[:, :3]).sum().backward()
    parts = [*critic.parameters(), *actor.parameters()]
    expected = torch.cat([*(p.grad.flatten() for p in parts), delta[:, 3:].sum(0)])
    torch.testing.assert_close(net.gradient(policy.layers, kept, delta), expected, **CLOSE)
    scores = policy.scores(obs, random(7, 2, seed=3)).sums(torch.ones(7, dtype=torch.float64), 7)
    assert (scores[:, : net.critic.size] == 0).all()
    assert (scores[:, net.critic.size :].abs().sum(0) > 0).all()
    v = random(net.size, seed=4)
    along = net.tangent(net.layers(v), policy.layers, kept)
    torch.testing.assert_close((along * delta).sum(), expected @ v, **CLOSE)
    assert sum(net.groups().values()) == net.size


def test_one_norm_clips_both_parts() -> None:
    """Beside torch's own clip_grad_norm_ over all parameters; the value term is coef times the critic's."""
    given = {
        "network": {**settings("algo=ppo")["network"], "name": "joint", "hidden": [6], "critic_hidden": [5]},
        "critic.coef": 3.0, "optimizer": {"name": "sgd", "lr": 1.0, "max_grad_norm": 0.01, "momentum": 0.0},
        "backend": "torch", "env.num_envs": 2, "sampler.steps": 8, "algo.epochs": 1, "algo.minibatches": 1,
    }  # fmt: skip
    run = build_run(settings("algo=ppo", **given))
    assert isinstance(run.learner.critic, SharedCritic)
    batch = make_batch(run, run.sampler.collect(run.policy, run.envs, run.noise, run.scale)[0])[2]
    gradient = run.algorithm.loss_gradient(batch, run.learner)
    split, before = run.policy.net.critic.size, run.policy.theta.clone()
    value = run.learner.critic.value(batch.obs)
    error = (value - batch.target) * batch.mask / batch.mask.sum()
    bias = 3.0 * error.sum()  # ∂/∂(the last bias of V) of coef·½ mean (V − target)²
    torch.testing.assert_close(gradient[split - 1], bias)
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient.clone()
    norm = nn.utils.clip_grad_norm_([parameter], 0.01)
    assert gradient[:split].norm() > 0.01
    assert norm > 0.01
    run.algorithm.ascend(batch, run.learner)
    torch.testing.assert_close(before - run.policy.theta, parameter.grad, rtol=1e-4, atol=1e-7)


def test_the_backend_is_chosen_by_what_the_kernels_know() -> None:
    if not is_available():
        pytest.skip("without numba auto is torch throughout")
    from pgrun.compiled.mlp import ACTIVATION

    assert set(ACTIVATION) == set(IN_KERNELS)
    plain = settings("algo=ppo")
    assert choose_backend(plain, "cpu") == "compiled"
    assert choose_backend(plain, "cuda") == "torch"
    for change in ({"activation": "elu"}, {"name": "joint"}):
        assert choose_backend({**plain, "network": plain["network"] | change}, "cpu") == "torch"
    assert choose_backend({**plain, "network": plain["network"] | {"init": "torch"}}, "cpu") == "compiled"


def test_shared_is_one_trunk() -> None:
    assert (Shared.one_trunk, Joint.one_trunk, Joint.shared) == (True, False, True)
