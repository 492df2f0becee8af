"""Any torch module in place of the closed forms: both against vmap(grad) of log π
itself, and in a whole run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import pgrun.policies.networks
from pgrun.policies.distributions import Categorical, Gaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Network, Policy
from pgrun.policies.torch_module import TorchModuleNet
from tests.helpers.support_pipeline import draw, settings, trained

ROUNDING = 1e-10  # float64, sums of a few hundred terms of order 1
D, ROWS, UNITS = 3, 12, 4


def sequential(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(D, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, outputs))


def both(dist) -> tuple[Policy, Policy]:
    """The same θ in a closed-form policy and in one of any module."""
    closed = Mlp([D, 5, 4, dist.linear], "tanh", dist.free)
    general = TorchModuleNet(lambda: sequential(dist.linear), D, dist.free)
    theta = closed.init("orthogonal", [1.0] * dist.linear, -0.3, draw(3))
    return Policy(closed, dist, theta, NoStateNorm()), Policy(general, dist, theta.clone(), NoStateNorm())


def rows(dist) -> tuple[torch.Tensor, torch.Tensor]:
    obs = torch.randn(ROWS, D, dtype=torch.float64, generator=draw(1))
    if isinstance(dist, Categorical):
        return obs, torch.randint(dist.size, (ROWS,), generator=draw(2))
    return obs, torch.randn(ROWS, dist.linear, dtype=torch.float64, generator=draw(2))


def per_row_by_autograd(policy: Policy, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """∇log π [ROWS, P] from the module and the distribution alone."""
    net, dist = policy.net, policy.dist
    assert isinstance(net, TorchModuleNet)

    def log_prob(parameters, free, x, a):
        y = functional_call(net.module, parameters, (x,))
        return dist.log_prob(torch.cat([y, free]), a)

    actual = vmap(grad(log_prob, argnums=(0, 1)), (None, None, 0, 0))(*net.layers(policy.theta), obs, action)
    return torch.cat([*(x.flatten(1) for x in actual[0].values()), actual[1]], 1)


@pytest.mark.parametrize("dist", [Categorical(3), Gaussian(2)], ids=lambda d: type(d).__name__)
def test_scores_are_those_of_vmap_grad(dist) -> None:
    obs, action = rows(dist)
    closed, general = both(dist)
    truth = per_row_by_autograd(general, obs, action)
    weight = torch.randn(ROWS, dtype=torch.float64, generator=draw(5))
    vectors = torch.randn(UNITS, truth.shape[1], dtype=torch.float64, generator=draw(6))
    keep = torch.tensor([0, 2])
    for policy in (closed, general):
        scores = policy.scores(obs, action)
        summed = (weight[:, None] * truth).view(UNITS, -1, truth.shape[1]).sum(1)
        assert torch.allclose(scores.sums(weight, UNITS), summed, atol=ROUNDING)
        assert torch.allclose(scores.squared_norms(), truth.square().sum(1), atol=ROUNDING)
        along = (truth.view(UNITS, -1, truth.shape[1]) * vectors[:, None]).sum(-1).flatten()
        assert torch.allclose(scores.dots(vectors), along, atol=ROUNDING)
        some = truth.view(UNITS, -1, truth.shape[1])[keep].sum(1)
        assert torch.allclose(scores.units(UNITS, keep).sums(torch.ones(6).double(), 2), some, atol=ROUNDING)
        by_time = truth.view(UNITS, -1, truth.shape[1]).sum(0)
        assert torch.allclose(
            scores.transposed(UNITS).sums(torch.ones(ROWS).double(), 3), by_time, atol=ROUNDING
        )


@pytest.mark.parametrize("dist", [Categorical(3), Gaussian(2)], ids=lambda d: type(d).__name__)
def test_gradients_and_tangents_are_the_closed_forms(dist) -> None:
    obs, _ = rows(dist)
    closed, general = both(dist)
    delta = torch.randn(ROWS, dist.size, dtype=torch.float64, generator=draw(7))
    v = torch.randn(len(closed.theta), dtype=torch.float64, generator=draw(8))
    collected = []
    for policy in (closed, general):
        kept = policy.activations(obs)
        net, layers = policy.net, policy.layers
        collected.append(
            (kept[-1], net.gradient(layers, kept, delta), net.tangent(net.layers(v), layers, kept))
        )
    for mine, theirs in zip(*collected, strict=True):
        assert torch.allclose(mine, theirs, atol=ROUNDING)


def test_buffers_are_refused() -> None:
    with pytest.raises(ValueError, match="BatchNorm1d has buffers"):
        TorchModuleNet(lambda: nn.BatchNorm1d(D), D)


@dataclass(frozen=True)
class Residual(Network):
    """What a user writes: a network that ``Mlp`` cannot be."""

    def net(self, inputs: int, outputs: int, free: int = 0) -> TorchModuleNet:
        def make() -> nn.Module:
            return nn.Sequential(nn.Linear(inputs, 8), nn.SiLU(), nn.LayerNorm(8), nn.Linear(8, outputs))

        return TorchModuleNet(make, inputs, free)


@pytest.mark.parametrize("algo", ["ppo", "trpo", "off_policy_ac"])
def test_a_run_of_a_users_network(algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgrun.policies.networks, "Residual", Residual, raising=False)
    words = [f"algo={algo}", "env=CartPole-v1", "trainer.total_steps=512", "env.num_envs=2"]
    network = {**settings(*words)["network"], "name": "residual"}
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run, summary = trained(tmp_path / name, *words, network=network)
        runs.append(run.policy.theta)
        assert summary["status"] == "finished"
    assert torch.equal(*runs)  # the module's own initialisation follows the seed
    assert "gradient/variance" in (tmp_path / "a" / "metrics.csv").read_text()
