"""Exact J, V, Q and ∇J of tabular problems, beside linear solves, finite differences, closed forms and the
environments themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

import pgrun.envs.problems.registration  # noqa: F401
from pgrun import exact
from pgrun.envs import EnvSettings, make_envs
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.samplers.episodes import Episodes
from tests.helpers.support_exact import EXACT, FAR, MDPS, error, theta_for, time_limited, true_gradient
from tests.helpers.support_pipeline import draw, outputs, trained
from tests.helpers.support_slow import slow_but

GYM = {
    "FrozenLake-v1": None,
    "FrozenLake8x8-v1": None,
    "CliffWalking-v1": 300,
    "Taxi-v4": None,
}  # their time limits
published = pytest.mark.parametrize("name", slow_but(["FrozenLake-v1", "CliffWalking-v1"], GYM))
DISCOUNT = 0.95


def policy_for(p: exact.Problem, actions: int, seed: int = 0) -> Policy:
    """A logit for each observation and action, drawn at random."""
    rng = torch.Generator().manual_seed(seed)
    theta = 0.5 * torch.randn(p.observations * actions, generator=rng, dtype=torch.float64)
    return Policy(Mlp([p.observations, actions], bias=False), Categorical(actions), theta, NoStateNorm())


@dataclass(frozen=True)
class Oracle:
    """The same from gymnasium's table by linear algebra alone: (γP)ʰ by squaring,
    (I − γP)⁻¹ by elimination.
    """

    chance: np.ndarray  # [S, A, S]
    reward: np.ndarray  # [S, A]
    start: np.ndarray  # [S]
    horizon: int

    def value(self, pi: np.ndarray, gamma: float, left: int) -> np.ndarray:
        """V with so many steps left: V∞ − (γP)ʰV∞ [S]"""
        p = gamma * np.einsum("sa,san->sn", pi, self.chance)
        forever = np.linalg.solve(np.eye(len(p)) - p, (pi * self.reward).sum(1))
        return forever - np.linalg.matrix_power(p, left) @ forever

    def q(self, pi: np.ndarray, gamma: float, left: int) -> np.ndarray:
        return self.reward + gamma * self.chance @ self.value(pi, gamma, left - 1)

    def objective(self, logits: np.ndarray, gamma: float) -> float:
        """J_γ of logits [A, S]."""
        pi = np.exp(logits - logits.max(0)).T
        return float(self.start @ self.value(pi / pi.sum(1, keepdims=True), gamma, self.horizon))


@cache
def solved(name: str) -> tuple[exact.Problem, Policy, Oracle]:
    env = gym.make(name, max_episode_steps=GYM[name]) if GYM[name] else gym.make(name)
    p, table = exact.read_problem(env), env.unwrapped.P
    states, actions = len(table), int(env.action_space.n)
    chance, reward = np.zeros((states, actions, states)), np.zeros((states, actions))
    for s in range(states):
        for a in range(actions):
            reward[s, a] = sum(x[0] * x[2] for x in table[s][a])
            for probability, after, _, over in table[s][a]:
                chance[s, a, after] += 0.0 if over else probability
    start = np.array(env.unwrapped.initial_state_distrib, float)
    oracle, policy = Oracle(chance, reward, start, env.spec.max_episode_steps), policy_for(p, actions)
    if "Lake" in name:  # at random nobody ever crosses: better after one step of policy iteration
        q = oracle.q(np.full((states, actions), 1 / actions), 0.99, oracle.horizon)
        better = 2 * (q - q.mean(1, keepdims=True)) / (q.std(1, keepdims=True) + 1e-9)
        policy.theta += torch.from_numpy(better.T.ravel())
    return p, policy, oracle


@published
def test_values_against_a_linear_solve(name: str) -> None:
    """At the start, in the middle and on the last step; 1e-9 of values of up to 10³, through a matrix of
    condition 1/(1 − γ).
    """
    p, policy, oracle = solved(name)
    pi = exact.policy_table(policy, p)
    v, q = exact.values(p, pi, DISCOUNT)
    assert len(v) == p.horizon + 1 == oracle.horizon + 1
    for t in (0, p.horizon // 2, p.horizon - 1):
        scale = 1e-9 * max(1.0, float(v.abs().max()))
        assert np.abs(v[t].numpy() - oracle.value(pi.numpy(), DISCOUNT, p.horizon - t)).max() < scale
        assert np.abs(q[t].numpy() - oracle.q(pi.numpy(), DISCOUNT, p.horizon - t)).max() < scale
    logits = policy.theta.view(-1, len(p.start)).numpy()
    assert float(exact.objective(p, pi, DISCOUNT)) == pytest.approx(
        oracle.objective(logits, DISCOUNT), rel=1e-9
    )


@published
def test_gradient_against_finite_differences(name: str) -> None:
    """Of the oracle's J, along three random directions: central, step 1e-4, truncation about 1e-8 of the size
    of J's changes.
    """
    p, policy, oracle = solved(name)
    gradient = exact.gradient(policy, p, DISCOUNT)
    logits, step = policy.theta.view(-1, len(p.start)).numpy(), 1e-4
    rng = np.random.default_rng(0)
    for _ in range(3):
        along = rng.standard_normal(logits.shape)
        ahead, behind = (oracle.objective(logits + x * along, DISCOUNT) for x in (step, -step))
        slope = (ahead - behind) / (2 * step)
        assert float(gradient @ torch.from_numpy(along.ravel())) == pytest.approx(slope, rel=1e-5)


@published
def test_the_environment_earns_the_objective(name: str) -> None:
    """Mean undiscounted return of played episodes, |z| < 4.5 (chance 7e-6, and the seed is fixed); and no
    other horizon's.
    """
    p, policy, _ = solved(name)
    envs = make_envs(EnvSettings(name, 1, max_episode_steps=GYM[name]), 8)
    envs.reset(list(range(8)))
    played = 1000 if "Lake" in name else 100
    rollout, _ = Episodes(played).collect(policy, envs, draw(1), NoRewardScale())
    returns = rollout.reward.sum(0)
    mean, spread = float(returns.mean()), float(returns.std()) / len(returns) ** 0.5
    pi = exact.policy_table(policy, p)
    assert spread > 0
    assert abs(mean - float(exact.objective(p, pi, 1.0))) < 4.5 * spread
    length = float(exact.state_visits(p, pi).sum())
    assert (
        abs(float(rollout.mask.sum(0).mean()) - length)
        <= 4.5 * float(rollout.mask.sum(0).std()) / played**0.5
    )


# --- the teaching problems ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MDPS)
def test_against_another_dynamic_program(name: str) -> None:
    """Of the tests, for problems in which terminations and time limits mix."""
    mdp = MDPS[name]
    seen, theta = torch.arange(mdp.states), theta_for(mdp)
    start, reward = torch.eye(mdp.states, dtype=torch.float64)[0], (mdp.chance * mdp.reward).sum(-1)
    p = exact.Problem(mdp.chance[..., :-1], reward, start, seen, mdp.states, mdp.horizon)
    policy = Policy(Mlp([mdp.states, 2], bias=False), Categorical(2), theta, NoStateNorm())
    q, v = time_limited(mdp, theta)
    ours = exact.values(p, exact.policy_table(policy, p), 0.9)
    assert error(ours[0], v) < EXACT
    assert error(ours[1], q) < EXACT
    assert error(exact.gradient(policy, p, 0.9), true_gradient(mdp, theta)) < EXACT
    assert error(exact.gradient(policy, p, 1.0), true_gradient(mdp, theta)) > FAR


def teaching(name: str, logits: list[list[float]], **kwargs: int) -> tuple[exact.Problem, Policy]:
    """Logits [A, O]."""
    p = exact.read_problem(gym.make(f"pgrun/{name}-v0", **kwargs))
    theta = torch.tensor(logits, dtype=torch.float64).flatten()
    return p, Policy(
        Mlp([p.observations, len(logits)], bias=False), Categorical(len(logits)), theta, NoStateNorm()
    )


def even(name: str, observations: int, **kwargs: int) -> tuple[exact.Problem, Tensor]:
    """With the uniform policy of two actions."""
    p, policy = teaching(name, [[0.0] * observations] * 2, **kwargs)
    return p, exact.policy_table(policy, p)


@pytest.mark.parametrize("theta", [0.3, 0.5, 0.9])
def test_one_state(theta: float) -> None:
    """J = θ/(1 − θ), dJ/dθ = 1/(1 − θ)², times ±θ(1 − θ) in the logits; 10⁴ steps are for ever at θ ≤ 0.9."""
    p, policy = teaching("OneState", [[math.log(theta)], [math.log(1 - theta)]])
    assert float(exact.objective(p, exact.policy_table(policy, p), 1.0)) == pytest.approx(
        theta / (1 - theta), rel=1e-11
    )
    wanted = [theta / (1 - theta), -theta / (1 - theta)]
    assert exact.gradient(policy, p, 1.0).tolist() == pytest.approx(wanted, rel=1e-11)


def test_random_walk_and_a_split() -> None:
    """Sutton & Barto's: (1, …, 5)/6, and (½, 1, 0)."""
    p, pi = even("RandomWalk", 5)
    assert exact.values(p, pi, 1.0)[0][0].tolist() == pytest.approx([k / 6 for k in range(1, 6)], abs=1e-12)
    p, pi = even("ASplit", 3)
    assert exact.values(p, pi, 1.0)[0][0].tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("chance", [0.5, 0.2])
def test_states_that_look_alike_share_parameters(chance: float) -> None:
    """Mismatch: J = 2p(1 − p), dJ/dp = 2 − 4p.

    FixedHorizon: J = Tp, dJ/dp = T. p of action 1, times ∓p(1 − p) in the logits.
    """
    logits, slope = [[math.log(1 - chance)], [math.log(chance)]], chance * (1 - chance)
    for name, kwargs, j, dj in (
        ("Mismatch", {}, 2 * slope, 2 - 4 * chance),
        ("FixedHorizon", {"T": 7}, 7 * chance, 7.0),
    ):
        p, policy = teaching(name, logits, **kwargs)
        assert float(exact.objective(p, exact.policy_table(policy, p), 1.0)) == pytest.approx(j)
        assert exact.gradient(policy, p, 1.0).tolist() == pytest.approx([-dj * slope, dj * slope], abs=1e-12)


def test_the_conserved_return_is_zero() -> None:
    p, policy = teaching("Conserved", [[0.3, 0.1, 0.2], [-0.4, 0.0, 0.7]])
    assert float(exact.objective(p, exact.policy_table(policy, p), 1.0)) == 0
    assert float(exact.gradient(policy, p, 1.0).abs().max()) < 1e-15


def test_horizons() -> None:
    """The longest path of a table without cycles, however long; of others a limit must be given."""
    assert exact.read_problem(gym.make("pgrun/FixedHorizon-v0", T=1000)).horizon == 1000
    assert exact.read_problem(gym.make("pgrun/Mismatch-v0")).horizon == 2
    assert exact.read_problem(gym.make("CliffWalking-v1"), 30).horizon == 30
    with pytest.raises(LookupError, match="give a horizon"):
        exact.read_problem(gym.make("CliffWalking-v1"))


def test_what_has_no_true_table_is_refused() -> None:
    with pytest.raises(LookupError, match="no transition table"):
        exact.read_problem(gym.make("CartPole-v1"))
    with pytest.raises(LookupError, match="fickle"):
        exact.read_problem(gym.make("Taxi-v4", fickle_passenger=True))


def test_what_the_policy_sees_is_normalised_where_states_are(tmp_path) -> None:
    run, _ = trained(
        tmp_path, "env=FrozenLake-v1", "algo=reinforce", "state_norm=true", "trainer.total_steps=500"
    )
    p = exact.read_problem(gym.make("FrozenLake-v1"))
    wanted = outputs(run, torch.eye(16).tolist()).softmax(-1)
    assert error(exact.policy_table(run.policy, p), wanted) < 1e-6  # one forward in float32 or two
    raw = run.policy.params(torch.eye(16)).softmax(-1)
    assert error(raw, wanted) > 1e-4


@pytest.mark.parametrize("stay", [0.3, 0.9, 0.9999])
def test_what_no_longer_moves_is_not_worked_out_again(stay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number as it is with all 10 000 steps, and of derivatives all steps are taken."""
    p = exact.read_problem(gym.make("pgrun/OneState-v0"))
    pi = torch.tensor([[stay, 1 - stay]], dtype=torch.float64)

    def solve() -> tuple[Tensor, ...]:
        return *exact.values(p, pi, 1.0), exact.state_visits(p, pi), exact.objective(p, pi, 1.0)

    def slope() -> Tensor:
        leaf = pi.clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(exact.objective(p, leaf, 1.0), leaf)[0]

    quick = (*solve(), slope())
    monkeypatch.setattr(exact, "is_settled", lambda before, now: False)
    for actual, expected in zip(quick, (*solve(), slope()), strict=True):
        assert torch.equal(actual, expected)
