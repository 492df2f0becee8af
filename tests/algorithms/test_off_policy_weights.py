"""Weights of reused episodes in closed form: whole trajectories, coins, one state, and populations whose
weights are known.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import comb

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_pg import OffPolicyPg, log_ratio, weight_scalars
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays
from pgrun.types import Batch, Rollout, each_tensor
from tests.algorithms.test_exact_fisher import problem_of
from tests.algorithms.test_exact_off_policy import moved
from tests.helpers import support_one_state as one_state
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_enumerate import batch_of, tabular_policy, world
from tests.helpers.support_exact import EXACT, GAMMA, error, probabilities
from tests.helpers.support_reuse import TO_GO, all_mdps, reused


@all_mdps
def test_the_weight_from_policies_is_that_of_whole_trajectories(name: str) -> None:
    """p_θ(τ)/p_old(τ) with start, transitions and policies multiplied out, relative to its size; and Ĵ(θ),
    J(θ) undiscounted.
    """
    mdp, theta, every_episode = world(name)
    new, rollout = moved(theta), every_episode.rollout
    batch = batch_of(
        every_episode.policy, rollout, torch.zeros_like(rollout.obs[..., 0]), Estimator(TO_GO, GAMMA)
    )
    policy = tabular_policy(new)
    rho = log_ratio(policy.dist.log_prob(policy.params(batch.obs), batch.action), batch)
    weight = OffPolicyPg(weights="trajectory").products(rho)[0]
    whole = [torch.tensor(whole_probabilities(name, x), dtype=torch.float64) for x in (new, theta)]
    assert error(whole[1], every_episode.probability) < EXACT
    assert float((weight * whole[1] / whole[0] - 1).abs().max()) < 1e-12
    estimate = (every_episode.probability * weight * rollout.reward.sum(0)).sum()
    table = exact.policy_table(policy, problem_of(mdp))
    assert float(estimate) == pytest.approx(float(exact.objective(problem_of(mdp), table, 1.0)), abs=EXACT)


def whole_probabilities(name: str, theta: Tensor) -> list[float]:
    """p(s₁) ∏ π(aₜ|sₜ) p(sₜ₊₁|sₜ, aₜ) of each column."""
    mdp, _, every_episode = world(name)
    pi, result = probabilities(mdp, theta), []
    for column in range(len(every_episode.probability)):
        p = 1.0
        for t in range(int(every_episode.rollout.mask[:, column].sum())):
            s, a, after = (
                every_episode.state[t, column],
                every_episode.rollout.action[t, column],
                every_episode.state[t + 1, column],
            )
            p *= float(pi[s, a] * mdp.chance[s, a, after])
        result.append(p)
    return result


def coin(chance: float) -> Policy:
    """π(1) = chance whatever is seen."""
    theta = torch.tensor([1 - chance, chance], dtype=torch.float64).log()
    return Policy(Mlp([1, 2], bias=False), Categorical(2), theta, NoStateNorm())


def flips(actions: Tensor) -> Batch:
    """Episodes of FixedHorizon under a fair coin, one for each column of actions [T, N]."""
    steps, columns = actions.shape
    ends = torch.zeros(actions.shape, dtype=torch.bool)
    ends[-1] = True
    obs = torch.ones(steps + 1, columns, 1, dtype=torch.float64)
    arrays = Arrays(
        obs=obs.numpy(), action=actions.numpy(), reward=actions.double().numpy(), terminated=ends.numpy(),
        ended=ends.numpy(), mask=torch.ones_like(ends).numpy(),
        time=torch.arange(steps)[:, None].expand_as(ends).numpy(),
    )  # fmt: skip
    rollout = arrays.to_rollout(coin(0.5), NoRewardScale(), columns, whole=True)
    return batch_of(coin(0.5), rollout, torch.zeros(steps + 1, columns).double(), Estimator(TO_GO, 1.0))


def log_rho(batch: Batch) -> Tensor:
    """0.5 → 0.55"""
    policy = coin(0.55)
    return log_ratio(policy.dist.log_prob(policy.params(batch.obs), batch.action), batch)


def test_every_episode_of_fixed_horizon() -> None:
    """All 2¹⁰ are equally likely, so that the logged means are expectations: W̄ = 1, largest 1.1ᵀ,
    E[W²] = 1.01ᵀ, Ĵ = 0.55 T.
    """
    steps = 10
    batch = flips(torch.tensor(list(product((0, 1), repeat=steps))).T.contiguous())
    scalars = weight_scalars(log_rho(batch), batch)
    expected = {"mean": 1.0, "max": 1.1**steps, "ess": 1.01**-steps, "return": 0.55 * steps}
    assert {k: float(v) for k, v in scalars.items()} == pytest.approx(
        {f"weight/{k}": v for k, v in expected.items()}, rel=1e-12
    )


@pytest.mark.parametrize(("steps", "ess"), [(1, 0.99), (10, 0.91), (100, 0.37), (500, 0.007)])
def test_products_explode_with_the_horizon(steps: int, ess: float) -> None:
    """One column for each number of ones, which is all that W depends on, binomially likely."""
    ones = (torch.arange(steps)[:, None] < torch.arange(steps + 1)).long()
    batch = flips(ones)
    chance = torch.tensor([comb(steps, n) / 2**steps for n in range(steps + 1)], dtype=torch.float64)
    weight = OffPolicyPg(weights="trajectory").products(log_rho(batch))[0]
    assert float(weight.max()) == pytest.approx(1.1**steps, rel=1e-10)
    assert float((chance * weight).sum()) == pytest.approx(1, rel=1e-10)
    squares = float((chance * weight**2).sum())
    assert squares == pytest.approx(1.01**steps, rel=1e-10)
    assert 1 / squares == pytest.approx(ess, rel=0.02)  # the documents' percentages have two digits
    per_step = OffPolicyPg(weights="per_step").products(log_rho(batch))
    assert float(per_step.max()) == pytest.approx(1.1)


def test_weights_beyond_the_range_of_floats_still_have_an_effective_sample_size() -> None:
    """W = e^±1000: one episode has all the weight."""
    batch = flips(torch.zeros(1, 4, dtype=torch.long))
    scalars = weight_scalars(torch.tensor([[1000.0, -1000.0, 0.0, 3.0]]), batch)
    assert float(scalars["weight/ess"]) == pytest.approx(0.25)
    even = weight_scalars(torch.full((1, 4), -2000.0), batch)
    assert float(even["weight/ess"]) == pytest.approx(1)


@pytest.mark.parametrize(("behaviour", "length"), [(0.5, 65), (0.8, 120)])
def test_one_state(behaviour: float, length: int) -> None:
    """dJ/dθ at θ = 0.6: trajectory and per_decision 1/(1 − θ)², past_only and state_ratio 1/((1 − θ)(1 − β)),
    per_step 1/(1 − β)², times θ(1 − θ) in the first logit; E[W²] = ((1 − θ)²/(1 − β))/(1 − θ²/β).
    """
    theta = 0.6
    rollout, chance = one_state.episodes(behaviour, length)
    rollout = replace(rollout, state=torch.zeros(length + 1, length, dtype=torch.long))
    problem = exact.read_problem(gym.make("pgrun/OneState-v0"), length)
    old, new = one_state.policy(behaviour), one_state.policy(theta).theta
    past = 1 / ((1 - theta) * (1 - behaviour))
    expected = {
        "trajectory": (1 - theta) ** -2,
        "per_decision": (1 - theta) ** -2,
        "past_only": past,
        "state_ratio": past,
        "per_step": (1 - behaviour) ** -2,
    }
    for weights, slope in expected.items():
        given = {"problem": problem} if weights == "state_ratio" else {}
        total = 0.0
        for column in range(length):
            alone = rollout.columns(torch.tensor([column]))
            total += float(chance[column] * reused(weights, alone, old, new, gamma=1.0, **given)[1][0])
        # the tails beyond, 0.6⁶⁵ = 4e-15 with its weights and 0.8¹²⁰ = 2e-12, times returns and scores of up
        # to some hundreds
        assert total == pytest.approx(slope * theta * (1 - theta), rel=1e-8), weights
    policy = one_state.policy(theta)
    batch = batch_of(policy, rollout, torch.zeros(length + 1, length).double(), Estimator(TO_GO, 1.0))
    rho = log_ratio(policy.dist.log_prob(policy.params(batch.obs), batch.action), batch)
    weight = OffPolicyPg(weights="trajectory").products(rho)[0]
    second = (1 - theta) ** 2 / (1 - behaviour) / (1 - theta**2 / behaviour)
    assert float((chance * weight**2).sum()) == pytest.approx(second, rel=1e-8)


def population(behaviour: float, exponent: int) -> Rollout:
    """2^exponent episodes of OneState under a fair coin, each length as often as it is likely: no sampling
    error but at the end.
    """
    assert behaviour == 0.5
    rollout, _ = one_state.episodes(behaviour, 45)
    whole = {"obs": rollout.obs[: exponent + 1], "raw_obs": rollout.raw_obs[: exponent + 1]}
    short = replace(rollout, **(each_tensor(rollout, lambda x: x[:exponent]) | whole))
    lengths = [n for n in range(1, exponent + 1) for _ in range(2 ** (exponent - n))]
    return short.columns(torch.tensor([*lengths, exponent]) - 1)


@pytest.mark.parametrize(
    ("weights", "slope"),
    [("per_decision", 6.25), ("trajectory", 6.25), ("past_only", 5.0), ("state_ratio", 5.0)],
)
def test_self_normalised_weights_are_consistent(weights: str, slope: float) -> None:
    """β = 0.5, θ = 0.6: with many episodes as without normalisation (dJ/dθ = 6.25), since the mean weight
    over *all* episodes is 1. Over those still alive per_decision gives 3.97. What is left: episodes beyond
    17 steps, 0.6¹⁷·17² ≈ 5 % of the longest weights' share, under 1 % of the whole.
    """
    theta, rollout = 0.6, population(0.5, 17)
    steps, columns = rollout.mask.shape
    rollout = replace(rollout, state=torch.zeros(steps + 1, columns, dtype=torch.long))
    given = (
        {"problem": exact.read_problem(gym.make("pgrun/OneState-v0"), steps)}
        if weights == "state_ratio"
        else {}
    )
    old, new = one_state.policy(0.5), one_state.policy(theta).theta
    actual = reused(weights, rollout, old, new, gamma=1.0, self_normalise=True, **given)[1][0]
    assert float(actual) == pytest.approx(slope * theta * (1 - theta), rel=0.02)
