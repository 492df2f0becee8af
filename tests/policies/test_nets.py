"""Closed-form gradients of networks against automatic differentiation of a forward written here."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from tests.helpers.support_closed import PAIRS, Pair

CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64, a hundred terms: rounding is 1e-15 of their size
ROWS = 24
LAYOUTS = [([3, 5, 4], "tanh", 0, True), ([3, 6, 5, 4], "relu", 2, True), ([3, 4], "tanh", 0, False)]
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=str)


def forward(theta: Tensor, x: Tensor, sizes: list[int], activation: str, free: int, bias: bool) -> Tensor:
    """One row [in] → [out + free], weights then biases of each layer, in order, and the free outputs last."""
    at = 0
    for index, (size, out) in enumerate(pairwise(sizes)):
        x = theta[at : at + out * size].reshape(out, size) @ x
        at += out * size
        if bias:
            x = x + theta[at : at + out]
            at += out
        if index < len(sizes) - 2:
            x = torch.tanh(x) if activation == "tanh" else torch.where(x > 0, x, torch.zeros_like(x))
    return torch.cat([x, theta[at:]])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@layouts
def test_forward_and_gradient(layout) -> None:
    sizes, activation, free, bias = layout
    net = Mlp(sizes, activation, free, bias)
    theta, x = random(net.size), random(ROWS, 3, seed=1)
    kept = net.activations(*net.layers(theta), x)
    plain = vmap(lambda t, row: forward(t, row, *layout), (None, 0))
    torch.testing.assert_close(kept[-1], plain(theta, x), **CLOSE)
    delta = random(*kept[-1].shape, seed=2)
    expected = grad(lambda t: (plain(t, x) * delta).sum())(theta)
    torch.testing.assert_close(net.gradient(net.layers(theta)[0], kept, delta), expected, **CLOSE)


def scores_of(pair: Pair, layout, value_head: int) -> tuple[Policy, Tensor, Tensor, Tensor]:
    """A policy, rows, actions and, by automatic differentiation, the score of each row [K, P]."""
    (*inner, _), activation, _, bias = layout
    layout = [*inner, pair.ours.linear + value_head], activation, pair.ours.free, bias
    net = Mlp(*layout)
    theta, obs = random(net.size), random(ROWS, 3, seed=1)
    action = pair.actions(ROWS, torch.Generator().manual_seed(3))

    def log_prob(t: Tensor, x: Tensor, a: Tensor) -> Tensor:
        return pair.theirs(forward(t, x, *layout)[value_head:]).log_prob(a)

    scores = vmap(grad(log_prob), (None, 0, 0))(theta, obs, action)
    return Policy(net, pair.ours, theta, NoStateNorm(), bool(value_head)), obs, action, scores


@layouts
@pytest.mark.parametrize("value_head", [0, 1])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_scores_per_unit(pair: Pair, layout, value_head: int) -> None:
    """Weighted sums over any equal runs of rows; also of one row each, of some runs,
    norms and inner products.
    """
    policy, obs, action, expected = scores_of(pair, layout, value_head)
    actual, weight = policy.scores(obs, action), random(ROWS, seed=4)
    for units in (1, 4, 6, ROWS):
        sums = (weight[:, None] * expected).view(units, ROWS // units, -1).sum(1)
        torch.testing.assert_close(actual.sums(weight, units), sums, **CLOSE)
    keep = torch.tensor([3, 0])
    some = actual.units(4, keep).sums(torch.ones(12, dtype=torch.float64), 2)
    torch.testing.assert_close(some, expected.view(4, 6, -1)[keep].sum(1), **CLOSE)
    torch.testing.assert_close(actual.squared_norms(), expected.square().sum(1), **CLOSE)
    vectors = random(4, policy.net.size, seed=5)
    along = (expected.view(4, 6, -1) * vectors[:, None]).sum(-1).flatten()
    torch.testing.assert_close(actual.dots(vectors), along, **CLOSE)


@pytest.mark.parametrize("scheme", ["orthogonal", "xavier"])
def test_initialisation(scheme: str) -> None:
    """Orthogonal: rows or columns of length √2, the last layer's rows of its gains; Xavier: bounded by
    √(6/(in+out)).
    """
    net = Mlp([6, 16, 8, 3], free=2)
    theta = net.init(scheme, [1.0, 0.01, 0.01], -0.5, torch.Generator().manual_seed(0))
    layers, free = net.layers(theta)
    assert free.tolist() == [-0.5, -0.5]
    assert all((b == 0).all() for _, b in layers)
    if scheme == "orthogonal":
        (first, _), (second, _), (last, _) = layers
        torch.testing.assert_close(first.T @ first, 2 * torch.eye(6, dtype=torch.float64))
        torch.testing.assert_close(second @ second.T, 2 * torch.eye(8, dtype=torch.float64))
        gains = torch.tensor([1.0, 1e-2, 1e-2], dtype=torch.float64)
        torch.testing.assert_close(last @ last.T, gains.square().diag())
    else:
        for (weight, _), gain in zip(layers, [1.0, 1.0, torch.tensor([[1.0], [0.01], [0.01]])], strict=True):
            limit = gain * (6 / sum(weight.shape)) ** 0.5
            assert (weight.abs() <= limit).all()
            assert (weight.abs() > 0.5 * limit).double().mean() == pytest.approx(0.5, abs=0.2)
