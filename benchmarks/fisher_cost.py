"""Fisher-vector products: the closed form beside double backward through a retained
graph, on one network and batch.

    python benchmarks/fisher_cost.py --repeats 200

The peer differentiates mean KL once with ``create_graph`` and then g·v for each v, as sb3-contrib and
Spinning Up do. ``solve`` is what a natural step costs: the set-up (forward pass, graph) and eleven products.
One thread, in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import support  # noqa: F401  pins the threads
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from pgrun.optimization.natural_gradient import fisher_product
from pgrun.policies import distributions
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.types import Batch

Product = Callable[[Tensor], Tensor]
PRODUCTS = 11  # ten iterations of CG, and gᵀF⁻¹g's
DAMPING = 0.1
CASES = {
    "CartPole-v1, 2048 rows": (distributions.Categorical(2), 4, 2048),
    "HalfCheetah-v5, 2048 rows": (distributions.Gaussian(6), 17, 2048),
    "HalfCheetah-v5, 256 rows": (distributions.Gaussian(6), 17, 256),
}


def problem(dist: distributions.Distribution, obs_size: int, rows: int) -> tuple[Policy, Batch]:
    """A fresh 2×64 tanh policy in float32 and states from N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    net = Mlp([obs_size, 64, 64, dist.linear], free=dist.free)
    theta = net.init("orthogonal", [1.0] * dist.linear, -0.5, generator).float()
    policy = Policy(net, dist, theta, NoStateNorm())
    obs, zero = torch.randn(rows, obs_size, generator=generator), torch.zeros(rows)
    params = policy.params(obs)
    action = dist.act(params, dist.noise((rows,), generator, torch.float32))
    return policy, Batch(obs, action, zero, params, zero, zero + 1, zero, zero, float(rows))


class Twin(torch.nn.Module):
    """The same policy as torch users write it."""

    def __init__(self, policy: Policy):
        super().__init__()
        (first, second, last) = (torch.nn.Linear(w.shape[1], w.shape[0]) for w, _ in policy.layers)
        self.net = torch.nn.Sequential(first, torch.nn.Tanh(), second, torch.nn.Tanh(), last)
        for layer, (weight, bias) in zip((first, second, last), policy.layers, strict=True):
            layer.weight.data.copy_(weight)
            layer.bias.data.copy_(bias)
        self.log_std = torch.nn.Parameter(policy.free.clone()) if policy.net.free else None

    def forward(self, obs: Tensor) -> torch.distributions.Distribution:
        out = self.net(obs)
        if self.log_std is None:
            return Categorical(logits=out)
        return Independent(Normal(out, self.log_std.exp()), 1)

    @property
    def ordered(self) -> list[Tensor]:
        """In the order of θ."""
        return [*self.net.parameters(), *([] if self.log_std is None else [self.log_std])]


def double_backward(twin: Twin, obs: Tensor) -> Product:
    with torch.no_grad():
        old = twin(obs)
    kl = kl_divergence(old, twin(obs)).mean()
    slope = torch.cat([x.flatten() for x in torch.autograd.grad(kl, twin.ordered, create_graph=True)])

    def product(v: Tensor) -> Tensor:
        parts = torch.autograd.grad(slope @ v, twin.ordered, retain_graph=True)
        return torch.cat([x.flatten() for x in parts]) + DAMPING * v

    return product


def closed_form(policy: Policy, batch: Batch) -> Product:
    return fisher_product(policy, batch, DAMPING)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(sides: tuple[Callable[[], Product], Callable[[], Product]], v: Tensor, repeats: int) -> list[str]:
    """Two lines: a product, and a solve."""
    ready = [side() for side in sides]
    gap = (ready[0](v) - ready[1](v)).norm() / ready[1](v).norm()
    assert gap < 1e-4, f"the two sides differ by {gap:.1e}"  # float32 through three layers: about 1e-6

    def solve(side: Callable[[], Product]) -> None:
        product = side()
        for _ in range(PRODUCTS):
            product(v)

    lines = []
    for name, works in (
        ("product", [lambda p=p: p(v) for p in ready]),
        ("solve", [lambda side=side: solve(side) for side in sides]),
    ):
        pairs = [tuple(seconds(work) for work in works) for _ in range(repeats + 5)][5:]
        ours, theirs = (1e3 * median(side) for side in zip(*pairs, strict=True))
        ratio = median(b / a for a, b in pairs)
        lines.append(f"{name:<10}{ours:>12.2f}{theirs:>18.2f}{ratio:>8.2f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{'case':<28}{'what':<10}{'pgrun, ms':>12}{'double back, ms':>18}{'ratio':>8}")
    for name, (dist, obs_size, rows) in CASES.items():
        policy, batch = problem(dist, obs_size, rows)
        twin = Twin(policy)
        v = torch.randn(policy.net.size, generator=torch.Generator().manual_seed(1))
        sides = (
            lambda p=policy, b=batch: closed_form(p, b),
            lambda t=twin, b=batch: double_backward(t, b.obs),
        )
        for line in compare(sides, v, repeats):
            print(f"{name:<28}{line}", flush=True)


if __name__ == "__main__":
    main()
