"""From surrogate to step: weights of log π, value losses and optimizers, each against automatic
differentiation or torch's own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.base import Algorithm
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.ppo import Ppo
from pgrun.config.paths import conf_dir
from pgrun.config.schema import find_class
from pgrun.critics.base import value_delta, value_loss
from pgrun.optimization.minibatches import find_edges
from pgrun.optimization.optimizers import Adam, Adamw, Optimizer, Rmsprop, Sgd
from pgrun.policies.policy import Policy
from pgrun.types import Batch, Rollout
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers.support_enumerate import batch_of, used_gradient, world
from tests.helpers.support_pipeline import trained

ROWS = 60
CLOSE = {"rtol": 1e-12, "atol": 1e-15}  # float64, elementwise

pytestmark = pytest.mark.usefixtures("differentiable")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch_like(rows: int = ROWS, **known: Tensor) -> Batch:
    empty = torch.zeros(rows, 0, dtype=torch.float64)
    given = {
        "log_prob": random(rows, seed=1),
        "psi": random(rows, seed=2),
        "mask": (random(rows, seed=3) > -1).double(),
        "value": random(rows, seed=4),
        "target": random(rows, seed=5),
    }
    return Batch(obs=empty, action=empty, params=empty, count=float(rows), **(given | known))


def update_inputs() -> tuple[Policy, Rollout, Tensor, Estimator]:
    """Twenty episodes, some of them over before the others."""
    _, _, episodes = world("both")
    rollout = episodes.rollout.columns(torch.arange(20))
    assert rollout.mask.min() == 0
    return episodes.policy, rollout, torch.zeros_like(rollout.obs[..., 0]), Estimator(RewardToGo(), 0.9)


ALGORITHMS = sorted(path.stem for path in Path(conf_dir() / "algo").glob("*.yaml"))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_gradient_weight_is_the_derivative_of_the_surrogate(name: str) -> None:
    """Under vmap(grad) too: the surrogate is a pure function of tensors. log π up to
    1 away, so that clips are met.
    """
    algorithm: Algorithm = find_class("algo", name)()
    batch = batch_of(*update_inputs())
    moved = batch.log_prob + 0.4 * random(8, len(batch.mask), seed=6)
    weights = vmap(grad(lambda log_prob: algorithm.surrogate(log_prob, batch)))(moved)
    for log_prob, expected in zip(moved, weights, strict=True):
        torch.testing.assert_close(algorithm.gradient_weight(log_prob, batch), expected, **CLOSE)
        assert (expected[batch.mask == 0] == 0).all()


def test_the_four_cases_of_the_clip() -> None:
    """ε = 0.2, A = ±2, ρ = 1.5 or 0.5: the surrogate by hand, and where its gradient ρA/count is left."""
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1, 0.9], dtype=torch.float64)
    advantage = torch.tensor([2.0, -2.0, 2.0, -2.0, 2.0, -2.0], dtype=torch.float64)
    batch = batch_like(6, log_prob=torch.zeros_like(ratio), psi=advantage, mask=torch.ones_like(ratio))
    ppo = Ppo(clip=0.2)
    each = [2.4, -3.0, 1.0, -1.6, 2.2, -1.8]  # 1.2·2, 1.5·(−2), 0.5·2, 0.8·(−2), ρA, ρA
    torch.testing.assert_close(6 * ppo.surrogate(ratio.log(), batch), torch.tensor(sum(each)).double())
    slope = torch.tensor([0.0, -3.0, 1.0, 0.0, 2.2, -1.8], dtype=torch.float64)
    torch.testing.assert_close(6 * ppo.gradient_weight(ratio.log(), batch), slope)
    assert ppo.clipped(ratio, batch).tolist() == [True, False, False, True, False, False]


def test_the_clip_schedule() -> None:
    ppo = Ppo(clip=0.2, clip_schedule="linear")
    ppo.set_progress(0.75)
    assert ppo.epsilon == pytest.approx(0.05)


def test_ppo_starts_along_the_gradient_of_a2c() -> None:
    """At θ_old ρ = 1. After a step it is another one: the ratios are not ignored."""
    gradients = [used_gradient(*update_inputs(), algorithm) for algorithm in (Ppo(), A2c())]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=0)
    batch = batch_like()
    moved = batch.log_prob + 0.05
    assert (Ppo().gradient_weight(moved, batch) - A2c().gradient_weight(moved, batch)).abs().max() > 1e-4


@pytest.mark.parametrize("clip", [None, 0.3])
def test_value_delta_is_the_derivative_of_the_value_loss(clip: float | None) -> None:
    batch = batch_like()
    for seed in range(5):
        value = random(ROWS, seed=10 + seed)
        expected = grad(lambda v: value_loss(v, batch, clip))(value)
        torch.testing.assert_close(value_delta(value, batch, clip), expected, **CLOSE)
        assert clip is None or ((expected == 0) & (batch.mask > 0)).any()


def test_value_clipping_by_hand() -> None:
    """V_old = 0, c = 1, target 3: V = 2 counts as 1, error ½·4, no gradient; V = −2
    keeps its own, larger error ½·25.
    """
    for value, loss, slope in ((2.0, 2.0, 0.0), (-2.0, 12.5, -5.0), (0.5, 3.125, -2.5)):
        one = torch.ones(1, dtype=torch.float64)
        batch = batch_like(1, value=0 * one, target=3 * one, mask=one)
        assert value_loss(value * one, batch, 1.0).item() == loss
        assert value_delta(value * one, batch, 1.0).item() == slope


OPTIMIZERS = {
    "adam": (Adam(lr=3e-3), lambda p: torch.optim.Adam(p, lr=3e-3, fused=True)),
    "adam_betas": (
        Adam(1e-2, betas=(0.8, 0.9), eps=1e-5),
        lambda p: torch.optim.Adam(p, 1e-2, (0.8, 0.9), 1e-5, fused=True),
    ),
    "adamw": (
        Adamw(lr=3e-3, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 3e-3, weight_decay=0.1, fused=True),
    ),
    "sgd": (Sgd(lr=0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (Sgd(lr=0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "rmsprop": (Rmsprop(lr=1e-3, alpha=0.95), lambda p: torch.optim.RMSprop(p, 1e-3, alpha=0.95, eps=1e-5)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_like_torch(name: str, dtype: torch.dtype) -> None:
    """Bit for bit."""
    settings, make = OPTIMIZERS[name]
    theta = random(300).to(dtype)
    parameter = torch.nn.Parameter(theta.clone())
    ours, theirs = Optimizer(theta, settings), make([parameter])
    for step in range(50):
        gradient = random(300, seed=step + 1).to(dtype)
        ours.step(gradient.clone())
        parameter.grad = gradient
        theirs.step()
    assert torch.equal(theta, parameter.detach())


@pytest.mark.parametrize("limit", [0.5, 30.0])
def test_clipping_like_torch(limit: float) -> None:
    """Of a gradient of norm about 17: one limit is met, the other is not.

    The factor may differ in its last bit.
    """
    theta, gradient = torch.zeros(300, dtype=torch.float64), random(300, seed=1)
    Optimizer(theta, Sgd(lr=1.0, max_grad_norm=limit)).step(gradient)
    parameter = torch.nn.Parameter(torch.zeros(300, dtype=torch.float64))
    parameter.grad = gradient.clone()
    norm = torch.nn.utils.clip_grad_norm_([parameter], limit)
    assert 10 < norm < 30
    torch.testing.assert_close(-theta, parameter.grad, rtol=1e-15, atol=0)


def test_the_learning_rate_schedule() -> None:
    theta = torch.zeros(1)
    descent = Optimizer(theta, Sgd(lr=0.1, schedule="linear"))
    descent.schedule.set_progress(0.25)
    descent.step(torch.ones(1))
    assert theta.item() == pytest.approx(-0.075)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_state_goes_on(name: str) -> None:
    """A new one that is given the old one's state takes the same next steps."""
    settings, _ = OPTIMIZERS[name]
    theta = random(20)
    first = Optimizer(theta, settings)
    first.step(random(20, seed=1))
    copy = theta.clone()
    second = Optimizer(copy, settings)
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    for descent in (first, second):
        descent.step(random(20, seed=2))
    assert torch.equal(theta, copy)


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("algo", ["ppo", "ppo_penalty"])
def test_fewer_rows_than_minibatches(algo: str, backend: str, tmp_path: Path) -> None:
    """Episodes of one step: how many rows there are is known when they are there."""
    words = f"env=pgrun/TwoGaussians-v0 algo={algo} algo.minibatches=4 algo.entropy=0.01 backend={backend}"
    words += " sampler=episodes sampler.episodes=2 trainer.total_steps=20 trainer.eval_episodes=1"
    run, summary = trained(tmp_path, *words.split())
    assert summary["status"] == "finished"
    assert run.policy.theta.isfinite().all()
    assert find_edges(2, 4, 2).tolist() == [0, 1, 2, 3, 4], "no empty ones"
