"""``policy=gsde``: closed forms against torch.distributions and autograd, what is held and how long, and by
quadrature whether the gradient is right.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as td
from torch.autograd import grad
from torch.autograd.functional import hvp
from torch.func import jvp

import pgrun
from pgrun.policies.gsde import FLOOR, FeatureNet, GsdeGaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.policies.reference import kl_slope
from pgrun.rollouts.samplers.base import HeldNoise
from pgrun.training.build import build_run
from pgrun.training.counters import Counters
from pgrun.training.loop import learn_from_rollout
from tests.helpers.support_cli import pgrun as command
from tests.helpers.support_pipeline import settings, trained

ROWS, DIMS, HIDDEN = 30, 2, 3
CLOSE = {"rtol": 1e-9, "atol": 1e-10}  # float64: rounding
LEARNS = GsdeGaussian(DIMS, None, True, features=HIDDEN)
SMALL = {
    "env.id": "Pendulum-v1", "env.num_envs": 3, "env.max_episode_steps": 30, "network.hidden": [8],
    "trainer.total_steps": 240, "trainer.eval_episodes": 1, "logger.every": 1, "policy": {"name": "gsde"},
    "diagnostics.gradient_every": 1,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("differentiable")


def random(seed: int, rows: int = ROWS, size: int = LEARNS.size) -> torch.Tensor:
    return 0.7 * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal_of(x: torch.Tensor, frozen: bool = False) -> td.Distribution:
    """By torch, from the formula of the paper; ``frozen``: φ is a constant in the variance."""
    mean, features, log_std = x[:, :DIMS], x[:, DIMS : DIMS + HIDDEN], x[:, DIMS + HIDDEN :]
    features = features.detach() if frozen else features
    cov = torch.einsum("bk,bkj->bj", features**2, log_std.reshape(-1, HIDDEN, DIMS).exp() ** 2)
    return td.Independent(td.Normal(mean, (cov + FLOOR).sqrt()), 1)


@pytest.mark.parametrize("frozen", [False, True])
def test_closed_forms_are_those_of_torch(frozen: bool) -> None:
    """log π, score, entropy, KL, their gradients and the metric."""
    dist = GsdeGaussian(DIMS, None, not frozen, features=HIDDEN)
    p, q, u = random(1), random(2).requires_grad_(), random(3)
    action = random(4, size=DIMS)
    law = normal_of(q, frozen)
    plain = q.detach()
    torch.testing.assert_close(dist.log_prob(plain, action), law.log_prob(action), **CLOSE)
    torch.testing.assert_close(dist.score(plain, action), grad(law.log_prob(action).sum(), q)[0], **CLOSE)
    torch.testing.assert_close(dist.entropy(plain), law.entropy(), **CLOSE)
    slope = grad(normal_of(q, frozen).entropy().sum(), q)[0]
    torch.testing.assert_close(dist.entropy_gradient(plain), slope, **CLOSE)
    divergence = td.kl_divergence(normal_of(p), normal_of(q, frozen))
    torch.testing.assert_close(dist.kl(p, plain), divergence, **CLOSE)
    torch.testing.assert_close(dist.kl_gradient(p, plain), grad(divergence.sum(), q)[0], **CLOSE)
    leaving = td.kl_divergence(normal_of(q, frozen), normal_of(p))
    torch.testing.assert_close(kl_slope(dist, plain, p), grad(leaving.sum(), q)[0], **CLOSE)
    if not frozen:
        exact = hvp(lambda x: td.kl_divergence(normal_of(p), normal_of(x)).sum(), p, u)[1]
        torch.testing.assert_close(dist.metric(p, u), exact, **CLOSE)
        return
    still = dist.metric(p, u)
    assert not still[:, DIMS : DIMS + HIDDEN].any()
    assert (LEARNS.metric(p, u) - still).abs().max() > 0.1


def test_a_draw_has_the_law_and_one_matrix_serves_every_state() -> None:
    params = random(5, 1)
    noise = LEARNS.noise((40_000,), torch.Generator().manual_seed(0), torch.float64)
    sample = LEARNS.act(params.expand(40_000, -1), noise)
    law = normal_of(params)
    for k in range(DIMS):
        one = stats.norm(law.mean[0, k].item(), law.stddev[0, k].item())
        assert stats.kstest(sample[:, k].numpy(), one.cdf).pvalue > 1e-4
        assert stats.kstest(1.05 * sample[:, k].numpy(), one.cdf).pvalue < 1e-4
    given = LEARNS.act(params.numpy(), noise[:1].numpy())
    np.testing.assert_allclose(given, sample[:1].numpy(), rtol=1e-12)
    np.testing.assert_array_equal(LEARNS.act(params, None), params[:, :DIMS])
    twice = params.clone()
    twice[:, DIMS : DIMS + HIDDEN] *= 2  # φ twice as long under the same E: twice the noise
    torch.testing.assert_close(
        LEARNS.act(twice, noise[:1]) - twice[:, :DIMS], 2 * (sample[:1] - params[:, :DIMS]), **CLOSE
    )


@pytest.mark.parametrize("hidden", [(), (4, HIDDEN)])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_network_s_products(hidden: tuple[int, ...], activation: str) -> None:
    """Its last hidden layer is an output: gradient, rows' scores and tangent by autograd."""
    net = FeatureNet(Mlp([HIDDEN, *hidden, DIMS + 1], activation, free=HIDDEN * DIMS))
    theta = 0.5 * torch.randn(net.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, change = random(6, 5, HIDDEN), random(7, 1, net.size)[0]
    delta = random(8, 5, DIMS + 1 + HIDDEN + HIDDEN * DIMS)

    def outputs(at: torch.Tensor) -> torch.Tensor:
        return net.activations(*net.layers(at), x)[-1]

    layers, free = net.layers(theta)
    kept = net.activations(layers, free, x)
    theirs = theta.clone().requires_grad_()
    slope = grad((outputs(theirs) * delta).sum(), theirs)[0]
    torch.testing.assert_close(net.gradient(layers, kept, delta), slope, **CLOSE)
    scores = net.backpropagate(layers, kept, delta)
    torch.testing.assert_close(scores.sums(torch.ones(5).double(), 5).sum(0), slope, **CLOSE)
    along = jvp(outputs, (theta,), (change,))[1]
    torch.testing.assert_close(net.tangent(net.layers(change), layers, kept), along, **CLOSE)


def collected(words: str, **given):
    run = build_run(settings(words, **{**SMALL, **given}))
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    return run, rollout


BLIND, STEPS = {"network.hidden": []}, {"sampler.steps": 20}  # φ = the observation


@pytest.mark.parametrize("freq", [None, 4, 1])
def test_how_long_a_matrix_is_held(freq: int | None) -> None:
    """(a − μ) = φᵀE: E of three steps solves for the fourth where it is the same, and not where it is not.

    Pendulum's observation has three entries.
    """
    run, rollout = collected("algo=a2c", policy={"name": "gsde", "sample_freq": freq}, **BLIND, **STEPS)
    features = rollout.params[..., 1:4].double()
    drawn = (rollout.action - rollout.params[..., :1])[..., 0].double()
    torch.testing.assert_close(features, rollout.obs[:-1].double())
    hold = freq or 20
    for column in range(3):
        same = torch.linalg.lstsq(features[:4, column], drawn[:4, column, None])
        gap = (features[:4, column] @ same.solution - drawn[:4, column, None]).abs().max()
        assert (gap < 1e-5) == (hold >= 4)
        matrix = same.solution
        later = (features[4:16, column] @ matrix)[:, 0] - drawn[4:16, column]
        assert (later.abs().max() < 1e-4) == (freq is None)
    first = drawn[0] / features[0].norm(dim=-1)
    assert len(set(first.tolist())) == 3  # columns have matrices of their own
    again, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    residual = again.params[:4, 0, 1:4].double() @ matrix - (again.action - again.params[..., :1])[:4, 0]
    assert residual.abs().max() > 1e-3  # a rollout begins with another


def test_whole_episodes_have_one_matrix_each() -> None:
    """150 steps: longer than the 128 whose noise is drawn at once. Two episodes of a column have two."""
    given = {"env.max_episode_steps": 150, "sampler.episodes": 2, "env.num_envs": 1}
    _, rollout = collected("algo=reinforce", policy={"name": "gsde", "sample_freq": None}, **BLIND, **given)
    features = rollout.params[..., 1:4].double()
    drawn = (rollout.action - rollout.params[..., :1]).double()
    solved = [torch.linalg.lstsq(features[:, k], drawn[:, k]).solution for k in range(2)]
    for k in range(2):
        assert (features[:, k] @ solved[k] - drawn[:, k]).abs().max() < 1e-4
    assert (solved[0] - solved[1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("hold", "wanted"),
    [
        (3, [[0, 0, 0, 3, 3, 3], [10, 10, 12, 12, 12, 15]]),
        (None, [[0, 0, 0, 0, 0, 0], [10, 10, 12, 12, 12, 12]]),  # where its second episode begins
    ],
)
def test_held_noise_is_renewed_when_it_is_due(hold: int | None, wanted: list[list[float]]) -> None:
    held = HeldNoise(hold)
    steps = [[1, 1], [2, 2], [3, 1], [4, 2], [5, 3], [6, 4]]
    seen = [held.follow(torch.tensor([[float(t)], [10.0 + t]]), np.array(x)) for t, x in enumerate(steps)]
    assert torch.stack(seen)[..., 0].T.tolist() == wanted


@pytest.mark.parametrize(
    "words", ["algo=ppo", "algo=a2c network=joint", "algo=a2c network=shared", "algo=trpo", "algo=reinforce"]
)
def test_a_run_learns_resumes_and_is_loaded(words: str, tmp_path: Path) -> None:
    """Bit-identical from its state; densities are in the environment's units."""
    given = {**SMALL, "policy.sample_freq": 3, "policy.learn_features": "trpo" in words}
    if "reinforce" not in words:
        given |= STEPS
    run, summary = trained(tmp_path, *words.split(), **given)
    assert summary["backend"] == "torch"
    assert run.policy.theta.isfinite().all()
    other, again = (build_run(settings(*words.split(), **given)) for _ in range(2))
    update(other)
    again.load_state_dict(other.state_dict())
    update(other)
    update(again)
    assert torch.equal(other.policy.theta, again.policy.theta)
    loaded = pgrun.load(tmp_path).policy
    obs = np.full(3, 0.3, np.float32)
    assert loaded.action_space.contains(loaded.act(obs, sample=True, seed=3))
    law = loaded.distribution(obs)
    grid = np.linspace(-40, 40, 4001)
    total = np.trapezoid([math.exp(law.log_prob(np.array([a]))) for a in grid], grid)
    assert total == pytest.approx(1, abs=1e-3)
    assert law.mean is not None
    np.testing.assert_allclose(loaded.act(obs), np.clip(law.mean, -2, 2), rtol=1e-5)


def update(run) -> None:
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    learn_from_rollout(run, rollout, Counters(next_eval=0))


STATES = torch.tensor([[1.0, -0.5], [0.3, 0.8]], dtype=torch.float64)  # of steps 1 and 2, whatever is done
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(6)  # exact for polynomials of degree 11 in E


def two_steps(held: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(∇J, E[R Σ ∇log π]) of an episode of two actions with R = a₁a₂ + a₁ + a₂²/2, by quadrature over E."""
    net = FeatureNet(Mlp([2, 1], free=2))
    dist = GsdeGaussian(1, None if held else 1, True, features=2)
    theta = torch.tensor([0.4, -0.3, 0.2, -0.6, 0.1], dtype=torch.float64)
    policy = Policy(net, dist, theta, NoStateNorm())
    nodes = list(product(range(6), repeat=2 if held else 4))
    noise = torch.tensor([[POINTS[i] for i in node] for node in nodes], dtype=torch.float64)
    weight = torch.tensor([math.prod(WEIGHTS[i] for i in node) for node in nodes]) / (2 * math.pi) ** (
        len(nodes[0]) / 2
    )
    noise = torch.stack([noise[:, :2], noise[:, -2:]], 1)  # [nodes, step, H·A]: held, both are the same

    def actions(at: torch.Tensor) -> torch.Tensor:
        params = net.activations(*net.layers(at), STATES)[-1]
        return dist.act(params.expand(len(nodes), -1, -1), noise)[..., 0]

    def rewards(a: torch.Tensor) -> torch.Tensor:
        return a[:, 0] * a[:, 1] + a[:, 0] + a[:, 1] ** 2 / 2

    at = theta.clone().requires_grad_()
    (exact,) = grad((weight * rewards(actions(at))).sum(), at)
    a = actions(theta)
    rows = STATES.expand(len(nodes), -1, -1).reshape(-1, 2)
    scores = policy.scores(rows, a.reshape(-1, 1))
    return exact, scores.sums((weight * rewards(a)).repeat_interleave(2), 1)[0]


def test_the_gradient_is_right_where_each_step_has_its_own_matrix() -> None:
    """E[R Σ ∇log π] = ∇J; the floor of the variance, which draws do not have, leaves a relative 1e-5."""
    exact, ours = two_steps(held=False)
    torch.testing.assert_close(ours, exact, rtol=2e-5, atol=2e-5)


def test_the_gradient_is_wrong_where_a_matrix_is_held() -> None:
    """log π of one step is not that of the step given the last one, which has told of E. Of one state, seen
    twice, a = θ + σz and R = a₁a₂: J = θ² + σ², and the sum of scores 2z/σ times R is 4θ, not 2θ.
    """
    exact, ours = two_steps(held=True)
    assert (ours - exact).norm() > 0.3 * exact.norm()
    theta, sigma = 0.7, 0.5
    a = theta + sigma * POINTS
    estimate = (WEIGHTS / WEIGHTS.sum() * 2 * POINTS / sigma * a * a).sum()
    assert estimate == pytest.approx(4 * theta)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("policy=gsde env=CartPole-v1", "policy=gsde: is of real actions"),
        ("policy=gsde env=Pendulum-v1 algo=off_policy_pg tuned=none", "set policy.sample_freq=1"),
        ("policy=gsde env=Pendulum-v1 critic=vine", "set policy.sample_freq=1"),
        ("policy=gsde env=Pendulum-v1 network.logit_scale=2", "knows no network.logit_scale"),
        ("policy=gsde env=pgrun/LQ1-v0 network=cnn", "take network=separate"),
        ("policy=gsde env=Pendulum-v1 backend=compiled", "policy=gsde has no kernels"),
        ("policy=gsde env=Pendulum-v1 policy.sample_freq=0", "policy.sample_freq"),
    ],
)  # fmt: skip
def test_refusals(words: str, said: str) -> None:
    answer = command(words)
    assert answer.code == 2
    assert said in answer.err
