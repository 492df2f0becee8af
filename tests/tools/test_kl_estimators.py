"""k1, k2, k3 and the exact KL from a reference policy, beside automatic differentiation over every text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import NoCritic
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.tools.study.check import find_study_problems
from pgrun.tools.study.cli import STUDY
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import list_episodes, mean_and_variance
from pgrun.tools.study.kl import NAMES, KlEstimators
from pgrun.variance.group import Group
from tests.helpers.support_exact import EXACT, FAR, error
from tests.helpers.support_groups import Tree, tree
from tests.helpers.support_study import study


@cache
def case() -> tuple[Tree, Policy, dict]:
    """(a tree with its policy, a reference policy, what the study says)"""
    one, other = tree(0, words=2, length=2, prompts=2), tree(1, words=2, length=2, prompts=2)
    with torch.no_grad():
        result = KlEstimators(list_episodes(one.p, one.policy), one.policy, other.policy).result()
    return one, other.policy, result


@dataclass
class Oracle:
    """Every text with its chance, and what autograd makes of sums over its steps."""

    theta: Tensor
    log_ref: Tensor  # [S, A]
    paths: list[tuple[float, list[tuple[int, int]]]]

    def log_pi(self) -> Tensor:
        return self.theta.view(-1, len(self.log_ref)).T.log_softmax(-1)

    def gradient(self, total: Tensor) -> Tensor:
        (actual,) = torch.autograd.grad(total, self.theta, allow_unused=True)
        return torch.zeros_like(self.theta) if actual is None else actual

    def k(self, name: str, s: int, a: int) -> Tensor:
        log_pi = self.log_pi()
        ratio = log_pi[s, a] - self.log_ref[s, a]
        kl = (log_pi[s].exp() * (log_pi[s] - self.log_ref[s])).sum()
        return {"exact": kl, "k1": ratio, "k2": ratio**2 / 2, "k3": (-ratio).exp() - 1 + ratio}[name]

    def in_loss(self, name: str, path: list[tuple[int, int]]) -> Tensor:
        return self.gradient(sum(self.k(name, s, a) for s, a in path))

    def in_reward(self, name: str, path: list[tuple[int, int]]) -> Tensor:
        """Σₜ ∇log π(aₜ|sₜ) × the k of step t and later ones, constants."""
        paid = [float(self.k(name, s, a).detach()) for s, a in path]
        log_pi = self.log_pi()
        return self.gradient(sum(sum(paid[t:]) * log_pi[s, a] for t, (s, a) in enumerate(path)))

    def divergence(self, theta_moves_states: bool) -> Tensor:
        """∇ of E Σₜ KL(π‖ρ), with or without what θ does to the states."""
        log_pi, total = self.log_pi(), torch.zeros((), dtype=torch.float64)
        for chance, path in self.paths:
            weight = torch.tensor(chance, dtype=torch.float64)
            if theta_moves_states:
                first = 1 / len({p[0][0] for _, p in self.paths})
                weight = first * sum(log_pi[s, a] for s, a in path).exp()
            total = total + weight * sum(self.k("exact", s, a) for s, a in path)
        return self.gradient(total)


@cache
def oracle() -> Oracle:
    one, reference, _ = case()
    log_ref = reference.params(one.p.encoded()).log_softmax(-1)
    paths = [
        (start * chance, [(s, a) for s, a, *_ in path])
        for start, s0 in one.starts()
        for chance, path in one.paths(s0, (0,) * one.p.horizon)
    ]
    return Oracle(one.policy.theta.clone().requires_grad_(), log_ref, paths)


pytestmark = pytest.mark.usefixtures("differentiable")


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_automatic_differentiation(name: str) -> None:
    """Means, biases and variances of all six columns, text by text."""
    truth, actual = oracle(), case()[2]
    entry = actual["estimators"][name]
    chance = torch.tensor([p for p, _ in truth.paths], dtype=torch.float64)
    values = torch.tensor(
        [float(sum(truth.k(name, s, a).detach() for s, a in path)) for _, path in truth.paths]
    )
    mean = float(chance @ values.double())
    assert entry["value"] == pytest.approx(mean, rel=1e-6)  # values in float32
    assert entry["value_variance"] == pytest.approx(
        float(chance @ (values.double() - mean).square()), rel=1e-5
    )
    for place, make, aim in (
        ("loss", truth.in_loss, truth.divergence(theta_moves_states=False)),
        ("reward", truth.in_reward, truth.divergence(theta_moves_states=True)),
    ):
        each = torch.stack([make(name, path) for _, path in truth.paths])
        average, variance = mean_and_variance(chance, each)
        assert actual[f"{place}_gradient_norm"] == pytest.approx(float(aim.norm()), rel=1e-9)
        bias = float((average - aim).norm())
        assert entry[f"{place}_gradient_bias"] == pytest.approx(bias, rel=1e-6, abs=EXACT)
        assert entry[f"{place}_gradient_variance"] == pytest.approx(variance, rel=1e-6, abs=EXACT)


def test_what_is_unbiased_and_what_is_not() -> None:
    actual = case()[2]
    e = actual["estimators"]
    assert all(abs(e[name]["value_bias"]) < EXACT for name in ("exact", "k1", "k3"))
    assert abs(e["k2"]["value_bias"]) > FAR
    assert all(e[name]["loss_gradient_bias"] < EXACT for name in ("exact", "k2"))
    assert e["k1"]["loss_gradient_bias"] == pytest.approx(actual["loss_gradient_norm"])
    assert e["k3"]["loss_gradient_bias"] > FAR
    assert e["k3"]["loss_off_other_kl"] < EXACT < FAR < e["k2"]["loss_off_other_kl"]
    assert e["k1"]["reward_gradient_bias"] < EXACT
    assert all(e[name]["reward_gradient_bias"] > FAR for name in ("exact", "k2", "k3"))


def test_every_episode() -> None:
    """Their chances, returns and groups, beside the exact J and ∇J; with a time limit too."""
    for env, horizon in (("pgrun/TokenTree-v0", None), ("pgrun/SmallMDP-v0", 2)):
        p = exact.read_problem(gym.make(env), horizon)
        actions = p.reward.shape[1]
        theta = torch.linspace(-1, 1, actions * p.observations, dtype=torch.float64)
        net = Mlp([p.observations, actions], bias=False)
        policy = Policy(net, Categorical(actions), theta, NoStateNorm())
        with torch.no_grad():
            every = list_episodes(p, policy)
            assert float(every.probability.sum()) == pytest.approx(1)
            returns = (every.rollout.mask * every.rollout.reward).sum(0)
            objective = float(exact.objective(p, exact.policy_table(policy, p), 1.0))
            assert float(every.probability @ returns) == pytest.approx(objective)
            rollout, chance = every.groups(2)
            assert float(chance.sum()) == pytest.approx(1)
            estimates = Seen(policy, rollout, NoCritic()).estimates(Estimator(Group(), 1.0), 2)
            assert error(mean_and_variance(chance, estimates)[0], exact.gradient(policy, p, 1.0)) < EXACT


def test_the_command() -> None:
    """At a distance: the KL per visited step is what was asked for."""
    line = "env=pgrun/TokenTree-v0 gamma=1 policy.ascent=0.5 critic=none group=2 batch=4 episodes=40"
    actual = study(f"{line} kl.distance=0.1")
    assert {"exact", "k1", "k2", "k3"} == set(actual["kl"]["estimators"])
    assert 0.05 < actual["kl"]["exact_value"] < 0.5
    assert "kl" not in study(line)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "env=FrozenLake-v1 kl.distance=0.1",
            "kl: every episode is enumerated, and env=FrozenLake-v1 has more",
        ),
        ("env=CartPole-v1 kl.distance=0.1", "env=CartPole-v1 publishes no transition table"),
        (
            "env=pgrun/TokenTree-v0 policy.ascent=0.1 kl.distance=0.1 kl.theta=[1]",
            "kl.theta and kl.distance: one",
        ),
        (
            "env=pgrun/TokenTree-v0 policy.ascent=0.1 kl.theta=[1]",
            "kl.theta=[1]: must be a number, or a list of 21",
        ),
        ("env=pgrun/TokenTree-v0 group=3", "group=3: must divide batch=20: add batch=18"),
        (
            "env=pgrun/TokenTree-v0 schemes=[group]",
            "group: compares episodes from the same start: add group=4",
        ),
        ("env=pgrun/TokenTree-v0 shared=start", "shared=start: it is what the episodes of a group share"),
        ("env=CartPole-v1 group=4 shared=start", "shared=start: env=CartPole-v1 is not its transition table"),
    ],
)
def test_refusals(line: str, said: str) -> None:
    from pgrun.command.compose import compose_jobs
    from pgrun.command.overrides import read_command

    jobs = compose_jobs(read_command([*line.split(), "critic=none"], STUDY))
    wrong = find_study_problems(jobs.composed[0])
    assert any(said in one.sentence() for one in wrong), wrong
