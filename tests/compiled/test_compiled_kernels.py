"""Each compiled kernel against torch in float64, and that no shape of a network compiles anew."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

pytest.importorskip("numba")

from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from pgrun import returns
from pgrun.compiled.distributions import compile_distribution
from pgrun.compiled.mlp import CompiledMlp
from pgrun.compiled.optimizers import compile_optimizer
from pgrun.kernels import distributions as distribution_kernels
from pgrun.kernels import minibatch as minibatch_kernels
from pgrun.kernels import mlp as mlp_kernels
from pgrun.kernels import returns as loops
from pgrun.kernels.stored_code import digest_sources
from pgrun.optimization.optimizers import Adam, Adamw, Optimizer, Rmsprop, Sgd
from pgrun.policies.distributions import Bernoulli, Categorical, Gaussian, MultiCategorical
from pgrun.policies.mlp import Mlp
from tests.helpers.support_compiled import built, update

# float32 keeps 6e-8 of each term, and tanh 2.4e-7 of each of up to a hundred that an output of size 1 is the
# sum of.
CLOSE: dict[str, float] = {"rtol": 2e-5, "atol": 1e-5}
LAYOUTS = [
    ([3, 64, 32, 9], "tanh", 0, True),
    ([5, 17, 16, 4], "relu", 2, True),
    ([3, 4], "tanh", 1, False),
    ([9, 12, 12, 12, 1], "relu", 0, False),
    ([20, 64, 2], "tanh", 0, True),
]
SIZES = (1, 2, 3, 40)  # rows: in loops, and by BLAS
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=str)


def random(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(layout: Any) -> tuple[Mlp, CompiledMlp, torch.Tensor]:
    net = Mlp(*layout)
    return net, CompiledMlp(net), random(net.size, spread=0.4)


def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), theirs, **CLOSE)


@layouts
@pytest.mark.parametrize("rows", SIZES)
def test_networks(layout: Any, rows: int) -> None:
    """Activations, gradient, each row's factors and the tangent.

    Of float32 beside the closed form in float64.
    """
    net, twin, theta = pair(layout)
    x, v = random(rows, net.inputs, seed=1), random(net.size, seed=2)
    delta = random(rows, layout[0][-1] + net.free, seed=3)
    ours, theirs = twin.layers(theta), net.layers(theta.double())
    kept, exact = twin.activations(*ours, x), net.activations(*theirs, x.double())
    assert kept.flat is not None  # type: ignore[attr-defined]
    for h, expected in zip(kept, exact, strict=True):
        same(h, expected)
    same(twin.gradient(ours[0], kept, delta), net.gradient(theirs[0], exact, delta.double()))
    same(twin.tangent(twin.layers(v), ours[0], kept), net.tangent(net.layers(v.double()), theirs[0], exact))
    weight = random(rows, seed=4)
    factors = twin.backpropagate(ours[0], kept, delta)
    expected = net.backpropagate(theirs[0], exact, delta.double())
    same(factors.sums(weight, 1), expected.sums(weight.double(), 1))
    same(factors.squared_norms(), expected.squared_norms())


@layouts
def test_what_is_handed_out_stays(layout: Any) -> None:
    """No later call writes where an earlier result lies."""
    net, twin, theta = pair(layout)
    layers = twin.layers(theta)
    x, delta = random(4, net.inputs, seed=1), random(4, layout[0][-1] + net.free, seed=3)
    kept = twin.activations(*layers, x)
    results = [
        *kept,
        twin.gradient(layers[0], kept, delta),
        *twin.backpropagate(layers[0], kept, delta).delta,
    ]
    before = [result.clone() for result in results]
    again = twin.activations(*layers, x + 1)
    twin.gradient(layers[0], again, delta - 1)
    twin.backpropagate(layers[0], again, delta - 1)
    assert all(torch.equal(result, copied) for result, copied in zip(results, before, strict=True))


def test_leading_dimensions_and_theta_in_place() -> None:
    net, twin, theta = pair(LAYOUTS[1])
    layers = twin.layers(theta)
    x = random(3, 4, net.inputs, seed=1)
    theta.mul_(1.5)  # layers are views: they see it
    same(twin.activations(*layers, x)[-1], net.activations(*net.layers(theta.double()), x.double())[-1])


def test_torch_takes_over_where_it_must() -> None:
    """float64, vmap and automatic differentiation."""
    net, twin, theta = pair(LAYOUTS[0])
    x = random(4, net.inputs, seed=1)
    exact = twin.activations(*twin.layers(theta.double()), x.double())
    assert torch.equal(exact[-1], net.activations(*net.layers(theta.double()), x.double())[-1])

    def outputs(theta: torch.Tensor) -> torch.Tensor:
        return twin.activations(*twin.layers(theta), x)[-1].square().sum()

    kept = twin.activations(*twin.layers(theta), x)
    expected = twin.gradient(twin.layers(theta)[0], kept, 2 * kept[-1])
    same(torch.func.grad(outputs)(theta), expected.double())
    with torch.enable_grad():
        leaf = theta.clone().requires_grad_()
        (by_autograd,) = torch.autograd.grad(outputs(leaf), leaf)
    same(by_autograd, expected.double())
    rows = torch.vmap(lambda row: twin.activations(*twin.layers(theta), row[None])[-1][0])(x)
    same(rows, kept[-1].double())


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_no_activation_hides_a_nan(activation: str, value: float) -> None:
    net, twin, theta = pair(([3, 16, 16, 2], activation, 0, True))
    x = random(12, 3, seed=1)
    x[5, 1] = value
    ours, theirs = (n.activations(*n.layers(theta), x)[-1] for n in (twin, net))
    assert torch.equal(ours.isnan(), theirs.isnan())
    if value != value:
        assert ours[5].isnan().all()


def test_tanh_to_four_units_in_the_last_place() -> None:
    x = torch.linspace(-12, 12, 20_001)
    net = CompiledMlp(Mlp([1, 1, 1]))
    theta = torch.tensor([1.0, 0.0, 1.0, 0.0])
    y = net.activations(*net.layers(theta), x[:, None])[-1][:, 0]
    exact = x.double().tanh()
    unit = torch.finfo(torch.float32).eps * exact.abs().clamp(min=1e-30)
    assert ((y.double() - exact).abs() / unit).max() < 4


DISTRIBUTIONS = [
    Categorical(2),
    Categorical(7),
    MultiCategorical([3, 2, 4]),
    Bernoulli(3),
    Gaussian(1),
    Gaussian(6),
]


def draw_action(dist: Any, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    params = random(rows, dist.size, seed=8)
    return dist.act(params, dist.noise((rows,), generator, torch.float32))


@pytest.mark.parametrize("dist", DISTRIBUTIONS, ids=lambda d: f"{type(d).__name__}{d.size}")
@pytest.mark.parametrize("spread", [0.3, 6.0])
def test_distributions(dist: Any, spread: float) -> None:
    """Every function of rows, beside float64; rows with a log σ of their own too."""
    twin = compile_distribution(dist)
    p, q = random(30, dist.size, seed=1, spread=spread), random(30, dist.size, seed=2, spread=spread)
    if isinstance(dist, Gaussian):  # log σ within what is learned
        p[:, dist.linear :].clamp_(-2, 1)
        q[:, dist.linear :].clamp_(-2, 1)
    action, u = draw_action(dist, 30), random(30, dist.size, seed=3)
    assert isinstance(twin, type(dist))
    exact_action = action.double() if action.is_floating_point() else action
    close = {"rtol": 1e-4, "atol": 1e-5 * max(spread, 1) ** 2}  # differences of terms of size spread²
    for ours, theirs in (
        (twin.log_prob(p, action), dist.log_prob(p.double(), exact_action)),
        (twin.score(p, action), dist.score(p.double(), exact_action)),
        (twin.entropy(p), dist.entropy(p.double())),
        (twin.entropy_gradient(p), dist.entropy_gradient(p.double())),
        (twin.kl(p, q), dist.kl(p.double(), q.double())),
        (twin.kl_gradient(p, q), dist.kl_gradient(p.double(), q.double())),
        (twin.metric(p, u), dist.metric(p.double(), u.double())),
    ):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), theirs, **close)
    by_time = twin.log_prob(p.view(5, 6, -1), action.view(5, 6, *action.shape[1:]))
    assert torch.equal(by_time, twin.log_prob(p, action).view(5, 6))


OPTIMIZERS = {
    "adam": Adam(1e-2, betas=(0.8, 0.9), eps=1e-5),
    "adam_clipped": Adam(3e-3, max_grad_norm=0.5),
    "adamw": Adamw(3e-3, weight_decay=0.1),
    "sgd": Sgd(0.05, max_grad_norm=1.0),
    "momentum": Sgd(0.05, momentum=0.9),
    "rmsprop": Rmsprop(1e-3, alpha=0.95, max_grad_norm=30.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_of_an_optimizer(name: str) -> None:
    """θ and the whole state, with an lr that falls; a state that is loaded goes on in the twin."""
    theta = random(300)
    theirs, mine = Optimizer(theta.clone(), OPTIMIZERS[name]), Optimizer(theta.clone(), OPTIMIZERS[name])
    ours = compile_optimizer(mine)
    assert type(ours) is not Optimizer
    for step in range(50):
        gradient = random(300, seed=step + 1)
        if step == 20:
            ours.load_state_dict(copy.deepcopy(ours.state_dict()))
        for descent in (theirs, ours):
            descent.schedule.value = 1e-2 / (1 + step)
            descent.step(gradient)
    torch.testing.assert_close(ours.theta, theirs.theta, rtol=1e-6, atol=1e-6)
    for key, value in theirs.state.items():
        torch.testing.assert_close(ours.state[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam_clipped", "sgd"])
def test_a_nan_in_the_gradient_reaches_theta(name: str) -> None:
    for bad in (torch.nan, torch.inf):
        theta = random(30)
        descent = compile_optimizer(Optimizer(theta, OPTIMIZERS[name]))
        gradient = random(30, seed=1)
        gradient[3] = bad
        descent.step(gradient)
        assert theta.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_backups(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loops against torch's; a λ of its own at each time, scalars and empty rollouts stay right."""
    shape = (37, 5)
    reward, value = random(*shape).to(dtype), random(38, 5, seed=1).to(dtype)
    ended = (random(*shape, seed=2) > 1).to(dtype)
    terminated = ended * (random(*shape, seed=3) > 0)
    by_time = random(37, 1, seed=4).sigmoid().to(dtype)
    results = []
    for taken in (None, loops):
        monkeypatch.setattr(returns, "loops", taken)
        track = (reward, terminated, ended, value, 0.99)
        results.append(
            [
                returns.lambda_return(*track, 0.9),
                returns.lambda_return(*track, by_time),
                returns.backup(reward, terminated, value[-1]),
                returns.backup(reward[:, 0], ended[:, 0], value[-1, 0]),
            ]
        )
    for theirs, ours in zip(*results, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-5 if dtype == torch.float32 else 1e-13, atol=1e-6)


def test_no_width_or_depth_compiles_anew() -> None:
    """One specialisation of each kernel, whatever the network, the distribution and the minibatches."""
    kernels = [
        minibatch_kernels.ascend_epochs,
        minibatch_kernels.descend_epochs,
        mlp_kernels.fill_activations,
        mlp_kernels.backpropagate_rows,
        distribution_kernels.fill_log_probs,
    ]
    for algo, env, hidden in (
        ("ppo", "CartPole-v1", (64, 64)),
        ("ppo", "Pendulum-v1", (7,)),
        ("a2c", "CartPole-v1", (5, 6, 7, 8)),
    ):
        update(built(algo, "compiled", **{"env.id": env, "network.hidden": hidden}))
    for kernel in kernels:  # none of one that only others call, where those came from the cache
        assert len(kernel.signatures) <= 1, (kernel, kernel.signatures)
    assert len(kernels[0].signatures) == 1


def test_machine_code_is_kept_for_the_whole_packages_sources() -> None:
    """Kernels hold the code of those they call: a change of any file makes all of it anew."""
    for module in (minibatch_kernels, mlp_kernels, distribution_kernels, loops):
        collected = [x for x in vars(module).values() if isinstance(x, Dispatcher)]
        kept = [x for x in collected if not isinstance(x._cache, NullCache)]  # inner ones are part of these
        assert kept
        for dispatcher in kept:
            assert dispatcher._cache._cache_file._source_stamp == digest_sources()
