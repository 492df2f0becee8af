"""Distributions of real actions: closed forms against torch.distributions, draws against their law, runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as td
from torch.autograd import grad
from torch.autograd.functional import hvp

import pgrun
from pgrun.policies.continuous import EDGE, ScaledBeta, StateStdGaussian, TanhGaussian
from pgrun.training.build import build_run
from pgrun.training.counters import Counters
from pgrun.training.loop import learn_from_rollout
from tests.helpers.support_cli import pgrun as command
from tests.helpers.support_pipeline import settings, trained

ROWS, DIMS, SHIFT = 40, 2, -0.7
CLOSE = {"rtol": 0, "atol": 1e-11}  # float64, values of size 10: rounding, and torch's own lgamma and digamma
SMALL = {
    "env.num_envs": 4, "sampler.steps": 16, "network.hidden": [8], "diagnostics.gradient_every": 1,
    "trainer.total_steps": 256, "trainer.eval_episodes": 1, "logger.every": 1, "backend": "auto",
}  # fmt: skip


def beta_of(x: torch.Tensor) -> td.Distribution:
    alpha, beta = (1 + torch.nn.functional.softplus(x)).chunk(2, -1)
    inner = td.TransformedDistribution(td.Beta(alpha, beta), td.AffineTransform(-1.0, 2.0))
    return td.Independent(inner, 1)


def normal_of(x: torch.Tensor) -> td.Distribution:
    return td.Independent(td.Normal(x[..., :DIMS], (x[..., DIMS:] + SHIFT).exp()), 1)


def squashed_of(x: torch.Tensor) -> td.Distribution:
    normal = td.Normal(x[..., :DIMS], x[..., DIMS:].exp())
    return td.Independent(td.TransformedDistribution(normal, td.TanhTransform()), 1)


OURS = {
    "state_std": StateStdGaussian(DIMS, SHIFT), "squashed": TanhGaussian(DIMS), "beta": ScaledBeta(DIMS),
}  # fmt: skip
THEIRS = {"state_std": normal_of, "squashed": squashed_of, "beta": beta_of}
every = pytest.mark.parametrize("name", OURS)

pytestmark = pytest.mark.usefixtures("differentiable")


def random(seed: int = 0, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, 2 * DIMS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(name: str, params: torch.Tensor, seed: int = 5) -> torch.Tensor:
    dist = OURS[name]
    noise = dist.noise(params.shape[:-1], torch.Generator().manual_seed(seed), params.dtype)
    return dist.act(params, noise)


def acted(name: str, draws: torch.Tensor) -> torch.Tensor:
    """What torch's distribution is asked about."""
    return draws.tanh() if name == "squashed" else draws


def divergence(name: str, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """By torch, which knows it of the part that is not transformed."""
    if name == "state_std":
        return td.kl_divergence(normal_of(p), normal_of(q))
    first, second = THEIRS[name](p).base_dist, THEIRS[name](q).base_dist
    return td.kl_divergence(first.base_dist, second.base_dist).sum(-1)


@every
def test_log_prob_and_score(name: str) -> None:
    params = random()
    if name == "squashed":
        params /= 2  # torch's takes atanh(tanh u), and loses digits of a u that is large
    action = drawn(name, params.requires_grad_().detach())
    theirs = THEIRS[name](params).log_prob(acted(name, action))
    torch.testing.assert_close(OURS[name].log_prob(params, action), theirs, rtol=0, atol=1e-9)
    (score,) = grad(theirs.sum(), params)
    torch.testing.assert_close(OURS[name].score(params.detach(), action), score, rtol=1e-8, atol=1e-8)


@every
def test_kl_its_gradient_and_the_metric(name: str) -> None:
    p, q, u = random(1), random(2).requires_grad_(), random(3)
    theirs = divergence(name, p, q)
    torch.testing.assert_close(OURS[name].kl(p, q), theirs, **CLOSE)
    assert (OURS[name].kl(p, q) - divergence(name, q, p)).abs().max() > 0.1  # the direction matters
    (slope,) = grad(theirs.sum(), q)
    torch.testing.assert_close(OURS[name].kl_gradient(p, q.detach()), slope, **CLOSE)
    exact = hvp(lambda x: divergence(name, p, x).sum(), p, u)[1]
    torch.testing.assert_close(OURS[name].metric(p, u), exact, **CLOSE)


@every
def test_entropy_and_its_gradient(name: str) -> None:
    """Exact but for the quadrature, which is compared with adaptive integration."""
    params = random().requires_grad_()
    entropy = OURS[name].entropy(params)
    if name == "squashed":
        with torch.no_grad():
            params[:, DIMS:].clamp_(max=0.0)  # σ ≤ 1: 1e-7, as measured; the error grows with σ
            for row, ours in zip(params[:8].tolist(), OURS[name].entropy(params)[:8].tolist(), strict=True):
                parts = zip(row[:DIMS], row[DIMS:], strict=True)
                assert ours == pytest.approx(sum(integrated(m, math.exp(s)) for m, s in parts), abs=1e-6)
        entropy = OURS[name].entropy(params)
    elif name == "beta":
        base = beta_of(params).base_dist.base_dist
        torch.testing.assert_close(entropy, base.entropy().sum(-1) + DIMS * math.log(2), **CLOSE)
    else:
        torch.testing.assert_close(entropy, normal_of(params).entropy(), **CLOSE)
    (slope,) = grad(entropy.sum(), params, materialize_grads=True)
    torch.testing.assert_close(OURS[name].entropy_gradient(params.detach()), slope, **CLOSE)
    assert OURS[name].estimated == (("entropy",) if name == "squashed" else ())


def integrated(mean: float, std: float) -> float:
    """H(tanh u) = −∫ p(u)(log p(u) − log(1 − tanh² u)) du"""

    def density(u: float) -> float:
        log_p = stats.norm.logpdf(u, mean, std)
        return -math.exp(log_p) * (log_p - 2 * (math.log(2) - u - np.logaddexp(0, -2 * u)))

    return integrate.quad(density, mean - 10 * std, mean + 10 * std, limit=200)[0]


@every
def test_draws_have_the_law(name: str) -> None:
    """Kolmogorov–Smirnov, with a law 5 % off as the negative control; no draw lies on an end."""
    params = random(4, 1)
    sample = drawn(name, params.expand(40_000, -1)).numpy()
    assert np.abs(sample).max() <= (EDGE if name == "beta" else np.inf)
    if name == "squashed":  # what the environment gets of a draw is its tanh, and lies within the bounds
        np.testing.assert_array_equal(OURS[name].emit(sample), np.tanh(sample))
        assert float(OURS[name].recover(torch.tensor(0.5))) == pytest.approx(math.atanh(0.5))
    for k, column in enumerate(sample.T):
        first, second = params[0, k].item(), params[0, DIMS + k].item()
        law = {
            "state_std": stats.norm(first, math.exp(second + SHIFT)).cdf,
            "squashed": stats.norm(first, math.exp(second)).cdf,
            "beta": stats.beta(1 + np.logaddexp(0, first), 1 + np.logaddexp(0, second), -1, 2).cdf,
        }[name]
        assert stats.kstest(column, law).pvalue > 1e-4
        assert stats.kstest(0.95 * column, law).pvalue < 1e-4


@every
def test_without_noise(name: str) -> None:
    """The mode; of a squashed Gaussian the median, since it can have two modes."""
    params = random(6)
    still = OURS[name].act(params, None)
    if name == "squashed":
        torch.testing.assert_close(still, params[:, :DIMS])
        return
    best = OURS[name].log_prob(params, still)
    for seed in range(10):
        assert (OURS[name].log_prob(params, drawn(name, params, seed)) <= best + 1e-12).all()


@every
def test_numpy_draws_as_torch_does(name: str) -> None:
    params = random(7).float()
    noise = OURS[name].noise((ROWS,), torch.Generator().manual_seed(1), torch.float32)
    for draw in (noise, None):
        ours = OURS[name].act(params.numpy(), None if draw is None else draw.numpy())
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, OURS[name].act(params, draw).numpy(), rtol=1e-5, atol=1e-6)


def test_extreme_params_give_numbers() -> None:
    """Where softplus is 0 in float32, and where α is 10 000; a draw far out in the tanh."""
    params = torch.tensor([[-200.0, -200.0], [1e4, -200.0], [1e4, 1e4]])
    beta = ScaledBeta(1)
    for noise in (torch.tensor([[0.0], [0.5], [1 - 2**-24]]), None):
        action = beta.act(params, noise)
        assert beta.log_prob(params, action).isfinite().all()
        assert beta.score(params, action).isfinite().all()
    far = torch.tensor([[40.0]])
    assert TanhGaussian(1).log_prob(torch.tensor([[40.0, -1.0]]), far).isfinite().all()


@every
@pytest.mark.parametrize("algo", ["ppo", "trpo"])
def test_a_run_learns_resumes_and_is_loaded(name: str, algo: str, tmp_path: Path) -> None:
    """On Pendulum, or LQ1 for the one without bounds: trained, bit-identical from its state, loaded.

    Densities are in the environment's units.
    """
    env = "pgrun/LQ1-v0" if name == "state_std" else "Pendulum-v1"
    given = {**SMALL, "policy": {"name": name}, "env.id": env, "env.max_episode_steps": 50}
    run, summary = trained(tmp_path, f"algo={algo}", **given)
    assert summary["backend"] == "torch"
    assert run.policy.theta.isfinite().all()
    other = build_run(settings(f"algo={algo}", **given))
    assert not torch.equal(other.policy.theta, run.policy.theta)
    again = build_run(settings(f"algo={algo}", **given))
    update(other)
    again.load_state_dict(other.state_dict())
    update(other)
    update(again)
    assert torch.equal(other.policy.theta, again.policy.theta)
    loaded = pgrun.load(tmp_path).policy
    obs = np.full(loaded.observation_space.shape, 0.3, np.float32)
    action = loaded.act(obs, sample=True, seed=3)
    assert action.shape == loaded.action_space.shape
    assert loaded.action_space.contains(action)
    dist = loaded.distribution(obs)
    at = np.full(loaded.action_space.shape, 0.4)
    assert dist.log_prob(at) == pytest.approx(density_near(dist, at), rel=1e-3)


def update(run) -> None:
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    learn_from_rollout(run, rollout, Counters(next_eval=0))


def density_near(given, at: np.ndarray) -> float:
    """log density where ∫ over the space is made 1: a density in other units would be off by their ratio."""
    low = max(float(given.space.low.flat[0]), -40.0)
    grid = np.linspace(low, -low, 4001)[1:-1]
    total = np.trapezoid([math.exp(given.log_prob(np.full(at.shape, a))) for a in grid], grid)
    return given.log_prob(at) - math.log(total)


def test_kl_of_sharp_betas_is_more_than_rounding() -> None:
    """α near 1000, where float32's log Γ is off by 5e-4, a twentieth of the KL itself."""
    p = torch.tensor([[1000.0, 800.0]])
    q = p + torch.tensor([[4.0, -3.0]])
    exact = ScaledBeta(1).kl(p.double(), q.double())
    assert 1e-3 < exact.item() < 2e-2
    torch.testing.assert_close(ScaledBeta(1).kl(p, q).double(), exact, rtol=1e-5, atol=0)


def test_environments_get_what_is_squashed() -> None:
    """Pendulum's torque of ±2: the draw u becomes 2 tanh u, and is kept as u."""
    run = build_run(
        settings("algo=ppo", **{**SMALL, "policy": {"name": "squashed"}, "env.id": "Pendulum-v1"})
    )
    u = np.array([[0.0], [0.5], [3.0], [-20.0]], np.float32)
    np.testing.assert_allclose(run.envs.decode(u), 2 * np.tanh(u), rtol=1e-6)
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    assert rollout.action.abs().max() > 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("policy=beta env=CartPole-v1", "policy=beta: is of real actions"),
        ("policy=squashed env=pgrun/LQ1-v0", "take policy=gaussian or policy=state_std"),
        ("policy=beta env=Pendulum-v1 network.log_std=0", "policy=beta has no σ"),
        ("policy=state_std env=Pendulum-v1 backend=compiled", "policy=state_std has no kernels"),
        ("policy=laplace env=Pendulum-v1", "gaussian"),
    ],
)
def test_refusals(words: str, said: str) -> None:
    answer = command(words)
    assert answer.code == 2
    assert said in answer.err
