"""A policy from Python: the environment's own actions, their chances, in the environment's units."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from pgrun.api.policy import ActingPolicy
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Network, distribution_for
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_pipeline import draw, loop

SPACES = {
    "Discrete": spaces.Discrete(3, start=1),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[0, 5]),
    "MultiBinary": spaces.MultiBinary(3),
    "Box": spaces.Box(np.array([-1, -np.inf], np.float32), np.array([3, np.inf], np.float32)),
    "Torque": spaces.Box(-2, 6, (1, 1), np.float32),
}
OBS = np.array([0.3, -0.8], np.float32)


def acting(space: spaces.Space) -> ActingPolicy:
    """A random policy, far from uniform."""
    env = gym.Env()
    env.observation_space, env.action_space = spaces.Box(-1, 1, (2,), np.float32), space
    network = Network(hidden=(4,), policy_gain=2.0)
    policy = network.policy(2, distribution_for(space), NoStateNorm(), False, draw(3))
    return ActingPolicy(policy, loop(env))


@pytest.mark.parametrize("kind", SPACES)
def test_actions_are_the_environment_s(kind: str) -> None:
    policy, space = acting(SPACES[kind]), SPACES[kind]
    first = policy.act(OBS, sample=True, seed=1)
    following = [policy.act(OBS, sample=True) for _ in range(20)]
    for action in (policy.act(OBS), first, *following):
        assert space.contains(np.int64(action) if kind == "Discrete" else action), action
    assert len({str(action) for action in following}) > 1
    assert np.array_equal(first, policy.act(OBS, sample=True, seed=1))
    assert np.array_equal(following[0], policy.act(OBS, sample=True))
    with pytest.raises(ValueError, match="its observation has shape"):
        policy.act(np.zeros(3))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e40])
def test_what_is_no_number_of_an_observation_is_refused(odd: float) -> None:
    """Training would have ended there; 1e40 is infinite as float32."""
    policy = acting(SPACES["Discrete"])
    for ask in (policy.act, policy.distribution):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(
                ValueError,
                match=r"^its observation is .* in its entry 1 of 2, and must be finite as float32$",
            ):
                ask([0.3, odd])
    env = gym.Env()
    env.observation_space, env.action_space = spaces.Discrete(2), spaces.Discrete(2)
    network = Network(hidden=(4,)).policy(
        2, distribution_for(env.action_space), NoStateNorm(), False, draw(3)
    )
    with pytest.raises(ValueError, match=r"^its observation is .*, and its observation space Discrete\(2\)$"):
        ActingPolicy(network, loop(env)).act(odd)


def test_chances_are_those_of_the_actions() -> None:
    pi, policy = acting(SPACES["Discrete"]).distribution(OBS), acting(SPACES["Discrete"])
    assert pi.probabilities.sum() == pytest.approx(1, abs=1e-6)  # float32
    assert [pi.log_prob(a) for a in (1, 2, 3)] == pytest.approx(np.log(pi.probabilities).tolist(), abs=1e-6)
    assert policy.act(OBS) == 1 + pi.probabilities.argmax()
    assert pi.entropy == pytest.approx(-(pi.probabilities * np.log(pi.probabilities)).sum(), abs=1e-6)
    draws = np.bincount([policy.act(OBS, sample=True, seed=i) - 1 for i in range(2000)], minlength=3) / 2000
    error = np.sqrt(pi.probabilities * (1 - pi.probabilities) / 2000)
    assert (abs(draws - pi.probabilities) < 4 * error).all()
    assert (pi.mean, pi.std) == (None, None)

    pi = acting(SPACES["MultiDiscrete"]).distribution(OBS)
    first, second = pi.probabilities
    assert pi.log_prob([1, 7]) == pytest.approx(np.log(first[1] * second[2]), abs=1e-6)

    pi = acting(SPACES["MultiBinary"]).distribution(OBS)
    p = pi.probabilities
    assert pi.log_prob([1, 0, 1]) == pytest.approx(np.log(p[0] * (1 - p[1]) * p[2]), abs=1e-6)


NO_ACTIONS = {
    "Discrete": (0, 4, -1, 1.7, 1e30, np.nan, "a", None, [1, 2], []),
    "MultiDiscrete": ([1, 8], [1, 4], [2, 5], [1], [1, 5, 5]),
    "MultiBinary": ([0, 2, 1], [0, 256, 1], [0, 1], [0.5, 0, 1]),
    "Box": ([0.5], [0.5, 0.5, 0.5], [], ["a", "b"], [np.nan, 0.0]),
}


@pytest.mark.parametrize("kind", NO_ACTIONS)
def test_what_is_no_action_has_no_chance(kind: str) -> None:
    """Kernels look up a row by its number, and ask nothing."""
    pi = acting(SPACES[kind]).distribution(OBS)
    for action in NO_ACTIONS[kind]:
        with pytest.raises(ValueError, match="is no action of"):
            pi.log_prob(action)


def test_gaussians_are_in_the_environment_s_units() -> None:
    policy = acting(SPACES["Box"])
    pi = policy.distribution(OBS)
    assert pi.probabilities is None
    assert pi.mean is not None
    assert pi.std is not None
    assert policy.act(OBS) == pytest.approx(np.clip(pi.mean, [-1, -np.inf], [3, np.inf]), abs=1e-6)
    oracle = torch.distributions.Normal(torch.from_numpy(pi.mean), torch.from_numpy(pi.std))
    assert pi.log_prob([0.5, -2.0]) == pytest.approx(
        float(oracle.log_prob(torch.tensor([0.5, -2.0])).sum()), abs=1e-9
    )
    assert pi.entropy == pytest.approx(float(oracle.entropy().sum()), abs=1e-9)
    # the first entry is stretched from [−1, 1] to [−1, 3], the second left as it is: σ starts at exp(−0.5)
    assert pi.std.tolist() == pytest.approx([2 * np.exp(-0.5), np.exp(-0.5)], rel=1e-6)

    torque = acting(SPACES["Torque"])
    pi = torque.distribution(OBS)
    assert pi.mean is not None
    assert pi.mean.shape == (1, 1)
    grid = np.linspace(-40, 44, 20_001)
    density = np.exp([pi.log_prob([[a]]) for a in grid[::20]])
    assert density.sum() * (grid[20] - grid[0]) == pytest.approx(1, abs=1e-3)
    draws = np.array([torque.act(OBS, sample=True, seed=i) for i in range(2000)])
    inside = (draws > -2) & (draws < 6)
    share = torch.distributions.Normal(torch.tensor(pi.mean), torch.tensor(pi.std))
    bounds = torch.tensor([[-2.0, 6.0]], dtype=torch.float64)
    expected = float(share.cdf(bounds).diff())
    assert inside.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 2000))
