"""Natural steps: the Fisher matrix against autograd's Hessian of the KL, the solver,
and what a step does. float64.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.base import Learner
from pgrun.algorithms.euclidean_pg import EuclideanPg
from pgrun.algorithms.npg import Npg
from pgrun.algorithms.ppo_penalty import PpoPenalty
from pgrun.algorithms.trpo import Trpo
from pgrun.critics.base import NoCritic
from pgrun.optimization.natural_gradient import conjugate_gradient, fisher_product, mean_kl, solve_dense
from pgrun.policies.distributions import Bernoulli, Categorical, Gaussian, MultiCategorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.types import Batch

DISTRIBUTIONS = {
    "categorical": Categorical(3),
    "multi_categorical": MultiCategorical([2, 3]),
    "bernoulli": Bernoulli(2),
    "gaussian": Gaussian(2),
}
ROUNDING = 1e-8  # sums of some hundred float64 terms of size 1 through two layers round far below


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy_of(
    dist, hidden: tuple[int, ...] = (5,), bias: bool = True, seed: int = 0, head: bool = False
) -> Policy:
    """``head``: with V among the outputs, as a shared network has it."""
    net = Mlp([4, *hidden, head + dist.linear], free=dist.free, bias=bias)
    theta = 0.5 * torch.randn(net.size, generator=rng(seed), dtype=torch.float64)
    return Policy(net, dist, theta, NoStateNorm(), head)


def batch_of(policy: Policy, rows: int = 40, seed: int = 1) -> Batch:
    """Random states, actions from π, random Ψ; every fifth row masked."""
    g = rng(seed)
    obs = torch.randn(rows, 4, generator=g, dtype=torch.float64)
    params = policy.params(obs)
    action = policy.dist.act(params, policy.dist.noise((rows,), g, torch.float64))
    mask = (torch.arange(rows) % 5 > 0).double()
    psi = mask * torch.randn(rows, generator=g, dtype=torch.float64)
    zero = torch.zeros(rows, dtype=torch.float64)
    log_prob = policy.dist.log_prob(params, action)
    return Batch(obs, action, log_prob, params, psi, mask, zero, zero, count=float(rows))


def learner_of(policy: Policy) -> Learner:
    return Learner(policy, NoCritic(), SimpleNamespace(), rng())


def kl_of_theta(policy: Policy, batch: Batch, theta: Tensor) -> Tensor:
    """Mean KL(old‖θ), through autograd-able pieces only."""
    kl = policy.dist.kl(batch.params, policy.with_theta(theta).params(batch.obs))
    return (kl * batch.mask).sum() / batch.mask.sum()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_fisher_product_is_the_hessian_of_the_mean_kl(name: str) -> None:
    policy = policy_of(DISTRIBUTIONS[name])
    batch = batch_of(policy)
    v = torch.randn(policy.net.size, generator=rng(2), dtype=torch.float64)
    with torch.enable_grad():
        hessian = torch.autograd.functional.hessian(
            lambda theta: kl_of_theta(policy, batch, theta), policy.theta.clone()
        )
    product = fisher_product(policy, batch, damping=0.1)(v)
    assert (product - (hessian @ v + 0.1 * v)).abs().max() < ROUNDING
    assert (product - hessian @ v).abs().max() > 1e-3  # the damping is seen


def test_fisher_product_agrees_with_a_finite_difference_of_the_kl_gradient() -> None:
    policy = policy_of(DISTRIBUTIONS["categorical"])
    batch, step = batch_of(policy), 1e-5
    v = torch.randn(policy.net.size, generator=rng(2), dtype=torch.float64)

    def gradient(theta: Tensor) -> Tensor:
        with torch.enable_grad():
            theta = theta.clone().requires_grad_()
            return torch.autograd.grad(kl_of_theta(policy, batch, theta), theta)[0]

    difference = (gradient(policy.theta + step * v) - gradient(policy.theta - step * v)) / (2 * step)
    # central differences err by step² times a third derivative of size 1, and by rounding 1e-16/step
    assert (fisher_product(policy, batch, 0.0)(v) - difference).abs().max() < 1e-7


def test_fisher_of_a_softmax_table_is_diag_p_minus_pp() -> None:
    net = Mlp([1, 3], bias=False)
    policy = Policy(net, Categorical(3), torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64), NoStateNorm())
    obs = torch.ones(6, 1, dtype=torch.float64)
    params, zero = policy.params(obs), torch.zeros(6, dtype=torch.float64)
    action = torch.zeros(6, dtype=torch.int64)
    batch = Batch(obs, action, zero, params, zero, zero + 1, zero, zero, 6.0)
    p = params[0].softmax(-1)
    product = fisher_product(policy, batch, 0.0)
    matrix = torch.stack([product(e) for e in torch.eye(3, dtype=torch.float64)])
    assert (matrix - (p.diag() - p[:, None] * p)).abs().max() < 1e-15  # three products of numbers below 1
    # Singular, with null vector 1: the pseudo-inverse solves it where g ⟂ 1.
    g = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    assert solve_dense(product, g).residual < 1e-12


def test_sampled_fisher_is_the_mean_outer_product_of_the_scores() -> None:
    policy = policy_of(DISTRIBUTIONS["gaussian"])
    batch = batch_of(policy)
    rows = policy.scores(batch.obs, batch.action).sums(torch.ones(40, dtype=torch.float64), 40)
    outer = (rows * batch.mask[:, None]).T @ rows / batch.mask.sum()
    v = torch.randn(policy.net.size, generator=rng(3), dtype=torch.float64)
    assert (fisher_product(policy, batch, 0.0, sampled=True)(v) - outer @ v).abs().max() < ROUNDING
    assert (
        fisher_product(policy, batch, 0.0)(v) - outer @ v
    ).abs().max() > 1e-3  # forty samples are not the mean


def test_conjugate_gradient_solves_in_as_many_steps_as_dimensions() -> None:
    a = torch.randn(6, 6, generator=rng(4), dtype=torch.float64)
    a = a @ a.T + torch.eye(6, dtype=torch.float64)
    b = torch.randn(6, generator=rng(5), dtype=torch.float64)
    solution = conjugate_gradient(lambda v: a @ v, b, 6, tolerance=0.0)
    assert (solution.x - torch.linalg.solve(a, b)).abs().max() < 1e-10  # condition number below 100
    assert solution.residual < 1e-10
    short = conjugate_gradient(lambda v: a @ v, b, 2)
    assert (b - a @ short.x).norm() / b.norm() == pytest.approx(float(short.residual), rel=1e-6)


@pytest.mark.parametrize("algorithm", [Npg(), Npg(solver="dense"), Trpo(), EuclideanPg()])
def test_a_zero_gradient_is_a_zero_step(algorithm) -> None:
    policy = policy_of(DISTRIBUTIONS["categorical"])
    batch = batch_of(policy)
    batch.psi.zero_()
    before = policy.theta.clone()
    algorithm.improve(batch, learner_of(policy))
    assert torch.equal(policy.theta, before)
    assert all(torch.isfinite(x) for x in algorithm.scalars().values())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_kl_of_a_radius_step_tends_to_delta_and_to_half_of_the_quadratic_form(name: str) -> None:
    off = []
    for delta in (1e-2, 1e-4, 1e-6):
        policy = policy_of(DISTRIBUTIONS[name], hidden=())  # well conditioned: no step is long
        npg = Npg(delta=delta, damping=0.0, iterations=200)
        npg.improve(batch_of(policy), learner_of(policy))
        assert float(npg.told["step/kl_predicted"]) == pytest.approx(delta, rel=1e-5)  # ½ΔᵀFΔ
        off.append(abs(float(npg.told["step/kl_realised"]) / delta - 1))
    # the next order of the expansion is √δ times a constant, so each hundredth of δ is a tenth of the error
    assert off[2] < off[1] / 5 < off[0] / 25
    assert off[2] < 0.02


def test_the_natural_step_does_not_depend_on_the_parametrisation() -> None:
    """F_ψ = JᵀF_θJ for θ = Jψ: the policy moves the same, which a Euclidean step does not."""
    kls = {}
    for algorithm in (Npg(delta=1e-6, damping=0.0, solver="dense"), EuclideanPg(radius=1e-3)):
        for scale in (1.0, 10.0):
            net = Mlp([4, 3], bias=False)
            theta = 0.3 * torch.randn(net.size, generator=rng(), dtype=torch.float64)
            policy = Policy(net, Categorical(3), theta / scale, NoStateNorm())
            plain = batch_of(Policy(net, Categorical(3), theta, NoStateNorm()))
            batch = Batch(**{**vars(plain), "obs": plain.obs * scale})  # θᵀs = (θ/c)ᵀ(cs)
            algorithm.improve(batch, learner_of(policy))
            kls[type(algorithm), scale] = float(mean_kl(policy, batch))
    assert kls[Npg, 10.0] == pytest.approx(kls[Npg, 1.0], rel=1e-3)  # as δ → 0; δ = 1e-6 leaves √δ
    assert kls[EuclideanPg, 10.0] == pytest.approx(100 * kls[EuclideanPg, 1.0], rel=0.05)


def test_trpo_accepts_only_steps_inside_the_radius_that_improve_the_surrogate() -> None:
    shortened = accepted = 0
    for seed in range(20):
        policy = policy_of(DISTRIBUTIONS["gaussian"], seed=seed)
        batch = batch_of(policy, seed=seed + 100)
        trpo = Trpo(delta=0.1, damping=1e-3, iterations=30)
        before = trpo.objective(policy, batch)
        trpo.improve(batch, learner_of(policy))
        accepted += int(trpo.told["step/accepted"])
        if not trpo.told["step/accepted"]:
            continue
        assert kl_of_theta(policy, batch, policy.theta) <= 0.1
        assert trpo.objective(policy, batch) > before
        shortened += int(trpo.told["step/line_search_steps"] > 1)
    assert accepted >= 15
    assert shortened > 0  # the Taylor step alone would have broken the radius


def test_a_rejected_trpo_step_leaves_theta_bit_for_bit() -> None:
    policy = policy_of(DISTRIBUTIONS["gaussian"])
    batch, before = batch_of(policy), policy.theta.clone()
    trpo = Trpo(delta=0.1, backtracks=3)
    trpo.is_acceptable = lambda *args: False  # type: ignore[method-assign]
    trpo.improve(batch, learner_of(policy))
    assert trpo.told["step/accepted"] == 0
    assert torch.equal(policy.theta, before)


def test_plain_and_natural_steps_at_two_widths_of_a_gaussian() -> None:
    """One unit of μ is KL 1/(2σ²): 5.5556 at σ = 0.3, 0.0556 at σ = 3; the natural step has KL ε at both."""
    dist = Gaussian(1)
    for sigma, unit in ((0.3, 5.5556), (3.0, 0.0556)):
        log_std = torch.tensor(sigma, dtype=torch.float64).log()
        p = torch.stack([torch.zeros_like(log_std), log_std])
        q = torch.stack([torch.ones_like(log_std), log_std])
        assert float(dist.kl(p, q)) == pytest.approx(unit, abs=5e-5)  # as printed, four digits
        natural = sigma * (2 * 0.01) ** 0.5
        moved = torch.stack([torch.full_like(log_std, natural), log_std])
        assert float(dist.kl(p, moved)) == pytest.approx(0.01, rel=1e-12)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_kl_gradient_is_autograds(name: str) -> None:
    dist = DISTRIBUTIONS[name]
    p, q = (torch.randn(7, dist.size, generator=rng(s), dtype=torch.float64) for s in (6, 7))
    with torch.enable_grad():
        (wanted,) = torch.autograd.grad(dist.kl(p, q.requires_grad_()).sum(), q)
    assert (dist.kl_gradient(p, q.detach()) - wanted).abs().max() < 1e-12


def test_the_penalty_halves_and_doubles() -> None:
    ppo = PpoPenalty(target_kl=0.03, beta=1.0)
    told = []
    for kl in (0.0199, 0.0201, 0.0449, 0.0451, 0.0):
        ppo.adapt(kl)
        told.append(ppo.penalty)
    assert told == [0.5, 0.5, 0.5, 1.0, 0.5]
    fresh = PpoPenalty()
    fresh.load_state_dict(ppo.state_dict())
    assert fresh.penalty == 0.5


def test_the_penalty_stays_between_its_bounds_and_comes_back() -> None:
    """Halved without end β is 0 after 1075 iterations, and doubled infinite after
    1024: neither moves again.
    """
    for kl, bound, side in ((0.0, 1e-10, -1), (1.0, 1e10, 1)):
        ppo = PpoPenalty(target_kl=0.01)
        assert float(ppo.scalars()["step/beta_bound"]) == 0
        for _ in range(1100):
            ppo.adapt(kl)
        assert ppo.penalty == bound
        assert float(ppo.scalars()["step/beta"]) == pytest.approx(bound)
        assert float(ppo.scalars()["step/beta_bound"]) == side
        ppo.adapt(1.0 - kl)
        assert ppo.penalty == bound * 2.0**-side
        assert float(ppo.scalars()["step/beta_bound"]) == 0
    narrow = PpoPenalty(beta=1.0, beta_min=0.75, beta_max=1.5)
    for kl, wanted in ((0.0, 0.75), (0.0, 0.75), (1.0, 1.5), (1.0, 1.5)):
        narrow.adapt(kl)
        assert narrow.penalty == wanted


def test_the_penalised_gradient_is_autograds() -> None:
    policy = policy_of(DISTRIBUTIONS["categorical"])
    batch = batch_of(policy)
    moved = Policy(policy.net, policy.dist, policy.theta + 0.1, NoStateNorm())
    ppo = PpoPenalty(beta=0.7)
    with torch.enable_grad():
        params = moved.params(batch.obs).detach().requires_grad_()
        kl = (batch.mask * policy.dist.kl(batch.params, params)).sum() / batch.count
        objective = ppo.surrogate(policy.dist.log_prob(params, batch.action), batch) - 0.7 * kl
        (wanted,) = torch.autograd.grad(objective, params)
    got = ppo.params_gradient(params.detach(), batch, policy.dist)
    assert (got - wanted).abs().max() < 1e-12
