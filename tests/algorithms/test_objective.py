"""The whole gradient of an update, entropy bonus and critic included, against automatic differentiation of
the objective.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.base import Learner
from pgrun.algorithms.ppo import Ppo
from pgrun.critics.base import Critic, NoCritic
from pgrun.critics.fitted import Fitted, SeparateCritic, SharedCritic
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.types import Batch
from tests.helpers.support_closed import PAIRS, Pair
from tests.policies.test_nets import forward, random

ROWS = 40
CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64, a hundred terms of size 1


def batch_for(pair: Pair) -> Batch:
    """Old log-probabilities, values and weights of somewhere near; some rows masked."""
    theirs = pair.theirs(random(ROWS, pair.ours.size, seed=1))
    action = pair.actions(ROWS, torch.Generator().manual_seed(2))
    return Batch(
        obs=random(ROWS, 3, seed=3),
        action=action,
        log_prob=theirs.log_prob(action),
        params=random(ROWS, pair.ours.size, seed=1),
        psi=random(ROWS, seed=4),
        mask=(random(ROWS, seed=5) > -1).double(),
        value=random(ROWS, seed=6),
        target=random(ROWS, seed=7),
        count=37.0,
    )


def stepped(algorithm, policy: Policy, critic: Critic, batch: Batch) -> Tensor:
    """The loss gradient that the optimizer gets."""
    steps: list[Tensor] = []
    optimizer = SimpleNamespace(step=steps.append)
    algorithm.improve(batch, Learner(policy, critic, optimizer, torch.Generator()))
    return steps[0]


@pytest.mark.parametrize("algorithm", [A2c(entropy=0.3), Ppo(entropy=0.3)], ids=["a2c", "ppo"])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_gradient_of_the_objective(pair: Pair, shared: bool, clip: float | None, algorithm) -> None:
    """−(L + c_H/count Σ mask·H) + c_v·½ mean (V − target)², the last on a shared trunk only."""
    layout = [3, 6, pair.ours.linear + shared], "tanh", pair.ours.free, True
    net = Mlp(*layout)
    theta, batch = 0.5 * random(net.size), batch_for(pair)
    policy = Policy(net, pair.ours, theta, NoStateNorm(), shared)
    critic = SharedCritic(Fitted(coef=0.7, clip=clip), policy) if shared else NoCritic()

    def loss(t: Tensor) -> Tensor:
        out = vmap(lambda row: forward(t, row, *layout))(batch.obs)
        pi = pair.theirs(out[:, int(shared) :])
        bonus = 0.3 / batch.count * (batch.mask * pi.entropy()).sum()
        objective = algorithm.surrogate(pi.log_prob(batch.action), batch) + bonus
        return 0.7 * half_mean_square(out[:, 0], batch, clip) - objective if shared else -objective

    torch.testing.assert_close(stepped(algorithm, policy, critic, batch), grad(loss)(theta), **CLOSE)


def half_mean_square(value: Tensor, batch: Batch, clip: float | None) -> Tensor:
    error = (value - batch.target) ** 2
    if clip is not None:
        near = torch.maximum(torch.minimum(value, batch.value + clip), batch.value - clip)
        error = torch.maximum(error, (near - batch.target) ** 2)
    return 0.5 * error[batch.mask > 0].mean()


@pytest.mark.parametrize("clip", [None, 0.5])
def test_gradient_of_a_separate_critic(clip: float | None) -> None:
    layout = [3, 6, 1], "relu", 0, True
    net, batch, steps = Mlp(*layout), batch_for(PAIRS["categorical"]), []
    phi = random(net.size)
    optimizer = SimpleNamespace(step=lambda gradient: steps.append(gradient))
    SeparateCritic(Fitted(clip=clip), net, phi, optimizer).fit(batch, torch.Generator())

    def loss(t: Tensor) -> Tensor:
        return half_mean_square(vmap(lambda row: forward(t, row, *layout)[0])(batch.obs), batch, clip)

    torch.testing.assert_close(steps[0], grad(loss)(phi), **CLOSE)


def test_minibatch_gradients_average_to_that_of_the_batch() -> None:
    """Their divisors shrink in proportion: with equal parts and a step that moves nothing, the mean of an
    epoch is the whole.
    """
    pair = PAIRS["categorical"]
    net, batch, steps = Mlp([3, 6, 4]), batch_for(pair), []
    policy = Policy(net, pair.ours, random(net.size), NoStateNorm())
    learner = Learner(policy, NoCritic(), SimpleNamespace(step=steps.append), torch.Generator())
    Ppo(epochs=2, minibatches=5).improve(batch, learner)
    whole = stepped(Ppo(), policy, NoCritic(), batch)
    assert len(steps) == 10
    for epoch in (steps[:5], steps[5:]):
        torch.testing.assert_close(torch.stack(epoch).mean(0), whole, **CLOSE)
    assert not torch.equal(steps[0], steps[5])  # shuffled anew
