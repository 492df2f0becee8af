"""The exact Fisher matrix, per state and over trajectories: closed forms, enumeration, reparametrisation, the
Hessian of KL.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.optimization import natural_gradient
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from tests.exact.test_exact_solver import solved, teaching
from tests.helpers.support_enumerate import world
from tests.helpers.support_exact import EXACT, FAR, MDPS, Mdp, error, probabilities, visits

all_mdps = pytest.mark.parametrize("name", MDPS)


def problem_of(mdp: Mdp) -> exact.Problem:
    start, reward = torch.eye(mdp.states, dtype=torch.float64)[0], (mdp.chance * mdp.reward).sum(-1)
    return exact.Problem(
        mdp.chance[..., :-1], reward, start, torch.arange(mdp.states), mdp.states, mdp.horizon
    )


@pytest.mark.parametrize("theta", [0.3, 0.5, 0.9])
def test_one_state(theta: float) -> None:
    """1/(θ(1 − θ)) per state and 1/(θ(1 − θ)²) over trajectories, times the outer product of
    ∂θ/∂logits = ±θ(1 − θ).
    """
    p, policy = teaching("OneState", [[math.log(theta)], [math.log(1 - theta)]])
    slope = theta * (1 - theta) * torch.tensor([1.0, -1.0], dtype=torch.float64)
    square = torch.outer(slope, slope)
    assert error(exact.fisher(policy, p), square / (theta * (1 - theta))) < 1e-12
    over = exact.fisher_of_trajectories(policy, p)
    assert error(over, square / (theta * (1 - theta) ** 2)) < EXACT
    assert error(over, exact.fisher(policy, p)) > FAR


@pytest.mark.parametrize("name", ["FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1"])
def test_blocks_of_a_table_of_logits(name: str) -> None:
    """d(s)(diag(p) − ppᵀ) for each state and 0 between states; d from powers of the table of the oracle."""
    p, policy, oracle = solved(name)
    pi = exact.policy_table(policy, p)
    states, actions = pi.shape
    follows = torch.einsum("sa,san->sn", pi, torch.from_numpy(oracle.chance))
    often, here = torch.zeros(states, dtype=torch.float64), torch.from_numpy(oracle.start)
    for _ in range(oracle.horizon):
        often, here = often + here, follows.T @ here
    often /= often.sum()
    actual = exact.fisher(policy, p).view(actions, states, actions, states)  # logits are stored [A, S]
    block = torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :]
    wanted = torch.einsum("s,sab,st->asbt", often, block, torch.eye(states, dtype=torch.float64))
    assert error(actual, wanted) < 1e-12


@all_mdps
def test_over_trajectories_by_enumeration(name: str) -> None:
    """E[BBᵀ] over every trajectory, B the sum of its scores by hand; per state it is
    divided by the mean length.
    """
    mdp, theta, every_episode = world(name)
    rollout, pi = every_episode.rollout, probabilities(mdp, theta)
    one_hot = torch.nn.functional.one_hot(rollout.action, 2) - (rollout.obs[:-1] @ pi)
    total = torch.einsum("tn,tna,tns->nas", rollout.mask, one_hot, rollout.obs[:-1]).flatten(1)
    wanted = torch.einsum("n,np,nq->pq", every_episode.probability, total, total)
    p = problem_of(mdp)
    assert error(exact.fisher_of_trajectories(every_episode.policy, p), wanted) < EXACT
    length = visits(mdp, theta).sum()
    assert error(exact.fisher(every_episode.policy, p) * length, wanted) < EXACT
    assert wanted.norm() > FAR


def through_a_network(mdp: Mdp) -> Policy:
    rng = torch.Generator().manual_seed(4)
    net = Mlp([mdp.states, 5, 2])
    return Policy(net, Categorical(2), net.init("xavier", [1.0, 1.0], 0.0, rng), NoStateNorm())


def logits(policy: Policy, states: int, psi: Tensor) -> Tensor:
    """[A·S], in the order of a table's parameters."""
    layers, free = policy.net.layers(psi)
    return policy.net.activations(layers, free, torch.eye(states, dtype=torch.float64))[-1].T.flatten()


@all_mdps
@pytest.mark.parametrize("which", [exact.fisher, exact.fisher_of_trajectories])
def test_reparametrised(name: str, which) -> None:
    """F_ψ = JᵀF_θJ, the logits θ(ψ) being a network's outputs and J their derivative by automatic
    differentiation.
    """
    mdp = MDPS[name]
    policy, p = through_a_network(mdp), problem_of(mdp)
    with torch.enable_grad():
        jacobian = torch.autograd.functional.jacobian(lambda x: logits(policy, mdp.states, x), policy.theta)
    theta = logits(policy, mdp.states, policy.theta)
    table = Policy(Mlp([mdp.states, 2], bias=False), Categorical(2), theta, NoStateNorm())
    assert error(which(policy, p), jacobian.T @ which(table, p) @ jacobian) < EXACT


@all_mdps
def test_it_is_the_hessian_of_the_mean_kl_and_what_natural_steps_multiply_by(name: str) -> None:
    mdp = MDPS[name]
    policy, p = through_a_network(mdp), problem_of(mdp)
    often = visits(mdp, logits(policy, mdp.states, policy.theta)).sum(0)
    old = logits(policy, mdp.states, policy.theta).view(2, -1).T.log_softmax(-1)

    def mean_kl(psi: Tensor) -> Tensor:
        new = logits(policy, mdp.states, psi).view(2, -1).T.log_softmax(-1)
        return (often / often.sum() * (old.exp() * (old - new)).sum(1)).sum()

    with torch.enable_grad():
        hessian = torch.autograd.functional.hessian(mean_kl, policy.theta)
    fisher = exact.fisher(policy, p)
    assert error(fisher, hessian) < EXACT
    rows = SimpleNamespace(obs=p.encoded(), mask=often)  # each state once, as often as it is visited
    product = natural_gradient.fisher_product(policy, rows, 0.0)
    columns = torch.eye(len(policy.theta), dtype=torch.float64)
    assert error(fisher, torch.stack([product(e) for e in columns])) < EXACT
