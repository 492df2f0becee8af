"""The distributions of the package, each beside torch's own, which knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributions as td

from pgrun.policies.distributions import Bernoulli, Categorical, Distribution, Gaussian, MultiCategorical


class Product(td.Distribution):
    """Independent parts, one per entry of the action: torch has no such thing."""

    def __init__(self, parts: list[td.Distribution]):
        super().__init__(validate_args=False)
        self.parts = parts

    def log_prob(self, value: Tensor) -> Tensor:
        return sum(p.log_prob(a) for p, a in zip(self.parts, value.unbind(-1), strict=True))

    def entropy(self) -> Tensor:
        return sum(p.entropy() for p in self.parts)


class Bits(td.Bernoulli):
    """torch's wants its integers as floats."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value.to(self.logits.dtype))


def divergence(p: td.Distribution, q: td.Distribution) -> Tensor:
    if isinstance(p, Product) and isinstance(q, Product):
        return sum(td.kl_divergence(x, y) for x, y in zip(p.parts, q.parts, strict=True))
    return td.kl_divergence(p, q)


@dataclass(frozen=True)
class Pair:
    """One of ours, torch's with the same parameters, and random actions [B, …]."""

    ours: Distribution
    theirs: Callable[[Tensor], td.Distribution]
    actions: Callable[[int, torch.Generator], Tensor]


def integers(*high: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, rng: torch.stack([torch.randint(h, (n,), generator=rng) for h in high], -1)


PAIRS = {
    "categorical": Pair(
        Categorical(4),
        lambda x: td.Categorical(logits=x, validate_args=False),
        lambda n, rng: integers(4)(n, rng)[:, 0],
    ),
    "multi_categorical": Pair(
        MultiCategorical([3, 2, 4]),
        lambda x: Product([td.Categorical(logits=y, validate_args=False) for y in x.split([3, 2, 4], -1)]),
        integers(3, 2, 4),
    ),
    "bernoulli": Pair(
        Bernoulli(3),
        lambda x: td.Independent(Bits(logits=x, validate_args=False), 1, validate_args=False),
        integers(2, 2, 2),
    ),
    "gaussian": Pair(
        Gaussian(2),
        lambda x: td.Independent(td.Normal(x[..., :2], x[..., 2:].exp(), validate_args=False), 1),
        lambda n, rng: torch.randn(n, 2, generator=rng, dtype=torch.float64),
    ),
}


def random_params(pair: Pair, rows: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(rows, pair.ours.size, generator=rng, dtype=torch.float64)
