"""The ladder of docs/methods: its exact variances are the closed forms, and a study agrees with them."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import pytest
import torch

from pgrun.exact import read_problem
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Network, Policy, distribution_for
from pgrun.tools.study.exact_ascent import climb_to_share
from pgrun.tools.study.policy import table_logits
from tests.helpers.support_study import study

RUNGS = "schemes=[none,reward_to_go,mean_baseline,leave_one_out,value_baseline,td0,gae]"


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "methods"))
    with torch.no_grad():
        yield importlib.import_module("moments")
    sys.modules.pop("moments", None)


def tabular(env: gym.Env, theta: float | None) -> Policy:
    dist, states = distribution_for(env.action_space), int(env.observation_space.n)  # type: ignore[attr-defined]
    network = Network(hidden=(), bias=False)
    policy = network.policy(states, dist, NoStateNorm(), False, torch.Generator(), torch.float64)
    policy.theta.copy_(table_logits(theta, states, dist.linear))
    return policy


@pytest.mark.parametrize("theta", [0.3, 0.5, 0.8])
def test_exact_variances_are_the_closed_forms(moments: ModuleType, theta: float) -> None:
    """On OneState; two logits have 2(θ(1 − θ))² of the variance in θ."""
    env = gym.make("pgrun/OneState-v0", disable_env_checker=True, max_episode_steps=500)
    variances = moments.variances(env, tabular(env, theta), read_problem(env), 10)
    t, lam = theta, 0.95
    closed = {
        "none": (4 * t**2 + 8 * t + 1) / (t * (1 - t) ** 4),
        "reward_to_go": (t**2 + 3 * t + 1) / (t * (1 - t) ** 4),
        "optimal_baseline": 4 / (1 - t) ** 4,
        "value_baseline": (1 + t) / (t * (1 - t) ** 4),
        "td0": 1 / (t * (1 - t) ** 2),
        "gae": (1 + lam * t) / (t * (1 - t) ** 2 * (1 - lam * t) * (1 - lam**2 * t)),
    }
    about_mean = (t**2 + 6 * t + 1) / (t * (1 - t) ** 4)
    others = (
        1 / (t * (1 - t) ** 2) * t / (1 - t) ** 2 + 1 / (1 - t) ** 4
    ) / 9  # (E‖B‖² Var r + ‖∇J‖²)/(N − 1)
    closed["leave_one_out"] = about_mean + others
    closed["mean_baseline"] = 0.81 * closed["leave_one_out"]
    logit = 2 * (t * (1 - t)) ** 2 / 10  # and a mean of 10 episodes
    # rel: what is left of an episode after 500 steps at θ = 0.8 is 1e-48; the rest is rounding
    assert variances == pytest.approx({name: v * logit for name, v in closed.items()}, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "none", "reward_to_go", "value_baseline"), [("Conserved", 0, 0.25, 0), ("Mismatch", 0, 0, 0.125)]
)
def test_the_exceptions(
    moments: ModuleType, name: str, none: float, reward_to_go: float, value_baseline: float
) -> None:
    """Two logits have twice the variance of one; Conserved has two states to act in, of which the second is
    paid for what is past.
    """
    env = gym.make(f"pgrun/{name}-v0", disable_env_checker=True)
    variances = moments.variances(env, tabular(env, 0.5), read_problem(env), 2)
    wanted = {"none": none, "reward_to_go": reward_to_go, "value_baseline": value_baseline}
    assert {key: variances[key] for key in wanted} == pytest.approx(wanted, abs=1e-12)


def test_a_study_agrees_with_the_exact_variances(moments: ModuleType) -> None:
    """On an MDP without closed forms; each scheme within four standard errors, and
    none would pass for its neighbour.
    """
    result = study(f"env=pgrun/SmallMDP-v0 gamma=1 policy.ascent=0.5 critic=exact episodes=8000 {RUNGS}")
    env = gym.make("pgrun/SmallMDP-v0", disable_env_checker=True)
    policy = tabular(env, None)
    climb_to_share(policy, read_problem(env), 1.0, 0.5)
    known = moments.variances(env, policy, read_problem(env), 20)
    for label, entry in result["schemes"].items():
        assert abs(entry["variance"] - known[label]) < 4 * entry["variance_se"], label
    td0, gae = (result["schemes"][label] for label in ("td0", "gae"))
    assert abs(td0["variance"] - known["gae"]) > 4 * math.hypot(td0["variance_se"], gae["variance_se"])


def test_a_fitted_critic_beside_a_table_of_logits() -> None:
    """The table is float64, and so is the critic then."""
    line = (
        "env=pgrun/OneState-v0 gamma=1 policy.theta=0.5 critic=fitted schemes=[td0] episodes=40 "
        "critic_episodes=20"
    )
    assert study(line)["schemes"]["td0"]["variance"] > 0
