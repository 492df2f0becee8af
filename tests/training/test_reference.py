"""A policy that training is kept near: the mean of its gradient over all episodes, what is kept, what is
refused.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.ppo import Ppo
from pgrun.algorithms.reinforce import Reinforce
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.command.validate import find_problems
from pgrun.config.settings import Reference
from pgrun.critics.base import NoCritic
from pgrun.policies.continuous import ScaledBeta
from pgrun.policies.distributions import Bernoulli, Categorical, Gaussian, MultiCategorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.policies.reference import ReferencePenalty, kl_slope
from pgrun.tools.study.every_episode import EveryEpisode, list_episodes
from pgrun.training.backends import choose_backend, find_unknown_to_kernels
from pgrun.training.counters import Clock, Counters
from pgrun.training.loop import collect_and_update, collect_rollout, update_from_rollout
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers.support_exact import EXACT, FAR, error
from tests.helpers.support_pipeline import built, settings, trained

BETA = 0.7
ENVS = {"pgrun/TokenTree-v0": ({"length": 2, "prompts": 2}, None), "pgrun/OneState-v0": ({}, 5)}
on_each = pytest.mark.parametrize("env", ENVS)


class Noted:
    """An optimizer that keeps what it is given."""

    def step(self, gradient: Tensor) -> None:
        self.gradient = gradient


def table(p: exact.Problem, seed: int) -> Policy:
    states, actions = p.reward.shape
    draw = torch.Generator().manual_seed(seed)
    theta = torch.randn(states * actions, generator=draw, dtype=torch.float64)
    return Policy(Mlp([states, actions], bias=False), Categorical(actions), theta, NoStateNorm())


@cache
def world(env: str) -> tuple[exact.Problem, Policy, Policy, EveryEpisode]:
    kwargs, horizon = ENVS[env]
    p = exact.read_problem(gym.make(env, **kwargs), horizon)
    policy = table(p, 0)
    with torch.no_grad():
        return p, policy, table(p, 1), list_episodes(p, policy)


def step_of(algorithm: Algorithm, wanted: Reference, env: str, column: int) -> Tensor:
    """The ascent direction of an update from one episode [P]."""
    _, policy, near, every = world(env)
    penalty, taken = ReferencePenalty(wanted, near), Noted()
    rollout = penalty.charge(every.rollout.columns(torch.tensor([column])), policy.dist)
    value = torch.zeros_like(rollout.obs[..., 0])
    batch = Estimator(RewardToGo(), 1.0).batch(rollout, value, NoCritic(), policy)
    learner = Learner(policy, NoCritic(), taken, torch.Generator(), reference=penalty)  # type: ignore[arg-type]
    algorithm.update(batch, learner)
    return -taken.gradient


@cache
def mean_step(env: str, place: str, estimator: str) -> Tensor:
    wanted = Reference("start", BETA, place, estimator)  # type: ignore[arg-type]
    chance = world(env)[3].probability
    with torch.no_grad():
        return sum(p * step_of(Reinforce(), wanted, env, n) for n, p in enumerate(chance))  # type: ignore[return-value]


def differentiate(env: str, moving: bool, other: bool = False) -> Tensor:
    """β∇D [P] by automatic differentiation of the sum over states, of KL(π‖ρ) or the ``other`` way round;
    not ``moving``: at the states as they are visited.
    """
    p, policy, near, _ = world(env)
    with torch.enable_grad():
        theta = policy.theta.clone().requires_grad_()
        log_pi = theta.view(-1, len(p.start)).T.log_softmax(-1)
        log_near = near.theta.view(-1, len(p.start)).T.log_softmax(-1)
        kl = (log_near.exp() * (log_near - log_pi) if other else log_pi.exp() * (log_pi - log_near)).sum(1)
        visits = exact.state_visits(p, log_pi.exp()).sum(0)
        total = (visits if moving else visits.detach()) @ kl
        return BETA * torch.autograd.grad(total, theta)[0]


@on_each
def test_what_is_unbiased_for_the_penalised_objective(env: str) -> None:
    p, policy, *_ = world(env)
    with torch.no_grad():
        aim = exact.gradient(policy, p, 1.0) - differentiate(env, moving=True)
    for place, estimator in (("reward", "k1"), ("both", "exact"), ("both", "k1"), ("both", "k3")):
        assert error(mean_step(env, place, estimator), aim) < EXACT, (place, estimator)
    for place, estimator in (("reward", "exact"), ("reward", "k2"), ("reward", "k3"), ("both", "k2")):
        assert error(mean_step(env, place, estimator), aim) > FAR, (place, estimator)


@on_each
def test_what_the_loss_differentiates(env: str) -> None:
    """exact and k2: KL(π‖ρ) at the visited states; k3: KL(ρ‖π); k1: nothing. None is ∇(J − βD)."""
    p, policy, *_ = world(env)
    with torch.no_grad():
        plain = exact.gradient(policy, p, 1.0)
    here, other = differentiate(env, moving=False), differentiate(env, moving=False, other=True)
    for estimator, wanted in (("exact", here), ("k2", here), ("k3", other), ("k1", 0 * here)):
        step = mean_step(env, "loss", estimator)
        assert error(step, plain - wanted) < EXACT, estimator
        assert error(step, plain - differentiate(env, moving=True)) > FAR, estimator
    assert error(here, other) > FAR
    missed = mean_step(env, "reward", "exact") - (plain - differentiate(env, moving=True))
    assert error(missed, here) < EXACT, "the exact KL as a reward misses its own derivative"


@pytest.mark.parametrize("place", ["reward", "loss", "both"])
@pytest.mark.parametrize("algorithm", [A2c(), Ppo(minibatches=1, epochs=1)])
def test_the_first_step_is_the_same_for_all_three(algorithm: Algorithm, place: str) -> None:
    wanted, env = Reference("start", BETA, place, "k3"), "pgrun/TokenTree-v0"  # type: ignore[arg-type]
    with torch.no_grad():
        for column in (0, 5):
            of_reinforce = step_of(Reinforce(), wanted, env, column)
            assert error(step_of(algorithm, wanted, env, column), of_reinforce) < EXACT


@pytest.mark.parametrize(
    "dist", [Categorical(3), MultiCategorical([2, 3]), Bernoulli(2), Gaussian(2), ScaledBeta(2)]
)
def test_the_slope_of_the_exact_kl(dist) -> None:
    """Beside differences of the KL itself; the other KL's slope is another."""
    draw = torch.Generator().manual_seed(0)
    p, q = (torch.randn(4, dist.size, generator=draw, dtype=torch.float64) for _ in range(2))
    actual = kl_slope(dist, p, q)
    for k in range(dist.size):
        moved = 1e-5 * torch.eye(dist.size, dtype=torch.float64)[k]
        slope = (dist.kl(p + moved, q) - dist.kl(p - moved, q)) / 2e-5
        assert torch.allclose(actual[:, k], slope, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(actual, dist.kl_gradient(q, p), atol=1e-3)


RUN = (
    "algo=reinforce advantage_norm=none env=pgrun/TokenTree-v0 gamma=1 sampler.episodes=8 env.num_envs=8 "
    "trainer.total_steps=400"
)


def test_a_price_keeps_the_policy_near(tmp_path: Path) -> None:
    """The higher, the nearer; the reference itself stays where it was, and in the checkpoint."""
    ends = []
    for beta in (0.01, 10.0):
        start = built(*RUN.split(), "reference.policy=start").policy.theta.clone()
        line = [*RUN.split(), "reference.policy=start", "reference.place=both"]
        run, _ = trained(tmp_path / str(beta), *line, **{"reference.beta": beta})
        assert run.backend == "torch"
        assert run.learner.reference is not None
        assert torch.equal(run.learner.reference.policy.theta, start)
        assert torch.equal(run.state_dict()["reference"]["theta"], start)
        rows = (tmp_path / str(beta) / "metrics.csv").read_text().splitlines()
        at = rows[0].split(",").index("kl/reference")
        ends.append(float(rows[-1].split(",")[at]))
    assert ends[1] < 0.3 * ends[0]


def test_a_run_that_goes_on_has_the_same_reference() -> None:
    """Bit for bit: after three updates, and after one, saved, and two."""
    line = [*RUN.split(), "reference.policy=start", "state_norm=true"]
    one, other = built(*line), built(*line)
    counters, clock = Counters(), Clock()
    collect_and_update(one, counters, clock)
    other.load_state_dict(one.state_dict())
    for run in (one, other):
        there = replace(counters)
        for _ in range(2):
            collect_and_update(run, there, clock)
    assert torch.equal(one.policy.theta, other.policy.theta)
    near = [run.learner.reference.policy for run in (one, other)]  # type: ignore[union-attr]
    assert torch.equal(near[0].theta, near[1].theta)
    assert not torch.equal(near[0].theta, one.policy.theta)


def test_the_policy_of_another_run(tmp_path: Path) -> None:
    first, _ = trained(tmp_path / "a", *RUN.split(), "backend=torch")
    run = built(*RUN.split(), f"reference.policy={tmp_path / 'a'}", seed=3)
    assert run.learner.reference is not None
    assert torch.equal(run.learner.reference.policy.theta, first.policy.theta)
    assert not torch.equal(run.policy.theta, first.policy.theta)
    said = refused(f"env=CartPole-v1 reference.policy={tmp_path / 'a'}")
    assert any("its θ has shape" in text or "its actions are of" in text for text in said), said


def test_a_reference_with_masks_is_for_observations_with_masks(tmp_path: Path) -> None:
    trained(tmp_path / "a", "algo=a2c", "env=Taxi-v4", "env.action_mask=true", "trainer.total_steps=40")
    said = refused(f"algo=a2c env=Taxi-v4 reference.policy={tmp_path / 'a'}")
    assert any("was trained with masks of actions: add env.action_mask=true" in text for text in said), said


def test_a_reference_with_another_start_of_log_std(tmp_path: Path) -> None:
    """σ is e⁻² there and e^−½ here, and μ about 0 in both: KL = log(σ_ρ/σ_π) + σ_π²/(2σ_ρ²) − ½."""
    still = "algo=ppo env=Pendulum-v1 policy=state_std tuned=none optimizer.lr=1e-9 sampler.steps=16"
    still += " trainer.total_steps=128 trainer.eval_every=null trainer.eval_episodes=1 backend=torch"
    trained(tmp_path / "a", *still.split(), "network.log_std=-2")
    run = built(*still.split(), "network.log_std=-0.5", f"reference.policy={tmp_path / 'a'}")
    scalars = collect_and_update(run, Counters(), Clock())
    assert scalars is not None
    expected = -1.5 + math.exp(3) / 2 - 0.5
    assert scalars["kl/reference"] == pytest.approx(expected, rel=0.02)


def refused(line: str) -> list[str]:
    job = compose_jobs(read_command(line.split())).composed[0]
    return [one.sentence() for one in find_problems(job)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("algo=trpo reference.policy=start", "algo=trpo knows no price of leaving a policy: take algo=ppo"),
        ("reference.beta=0.5", "reference.beta: there is no reference policy: set reference.policy=start"),
        ("reference.policy=nowhere", "reference.policy=nowhere: no such folder"),
        ("reference.policy=start reference.estimator=k4", "must be one of exact, k1, k2, k3"),
        (
            "algo=a2c env=FrozenLake-v1 critic=exact reference.policy=start",
            "critic=exact knows the values of the environment's own rewards",
        ),
        ("backend=compiled reference.policy=start", "reference.policy=start has no kernels"),
    ],
)
def test_refusals(line: str, said: str) -> None:
    assert any(said in text for text in refused(line)), refused(line)


def test_the_backend_is_chosen_with_it() -> None:
    own = settings(*RUN.split(), "reference.policy=start")
    assert list(find_unknown_to_kernels(own)) == ["reference.policy=start"]
    assert choose_backend(own, "cpu") == "torch"
    del own["reference"]  # a run of earlier days
    assert not list(find_unknown_to_kernels(own))


def test_a_batch_of_reset_rows_is_at_no_distance() -> None:
    """One environment, one step a batch: some batches hold nothing but a reset."""
    words = ["algo=a2c", "sampler.steps=1", "env.num_envs=1", "env=CartPole-v1", "reference.policy=start"]
    run, counters, seen = built(*words, "logger.every=1", "backend=torch"), Counters(next_eval=0), []
    while len(seen) < 2:
        rollout, _ = collect_rollout(run)
        told = update_from_rollout(run, rollout, counters)
        if not rollout.mask.any():
            seen.append(told["kl/reference"])
    assert seen == [0.0, 0.0]
