"""Action distributions as pure functions of their parameters, one class per action space.

``params`` are the policy network's outputs [..., size]. A sample is a deterministic function of params and noise, so
that the noise of a whole rollout is drawn at once. ``kl(p, q)`` is the exact KL(p‖q), not an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Categorical:
    """π(a) = softmax(params)ₐ over n actions; sampled by the Gumbel-max trick (Gumbel 1954)."""

    def __init__(self, n: int):
        self.linear, self.free, self.size = n, 0, n

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        draws = torch.empty(*shape, self.size, dtype=dtype, device=generator.device)
        return draws.exponential_(generator=generator).log_().neg_()

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        return (params + noise).argmax(-1)

    def mode(self, params: Tensor) -> Tensor:
        return params.argmax(-1)

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        return params.log_softmax(-1).gather(-1, action[..., None])[..., 0]

    def entropy(self, params: Tensor) -> Tensor:
        log_p = params.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        log_p = p.log_softmax(-1)
        return (log_p.exp() * (log_p - q.log_softmax(-1))).sum(-1)


class MultiCategorical:
    """Independent categoricals, one per entry of a MultiDiscrete action [..., A]."""

    def __init__(self, counts: Sequence[int]):
        self.parts = [Categorical(n) for n in counts]
        self.counts = list(counts)
        self.linear = self.size = sum(counts)
        self.free = 0

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return Categorical(self.size).noise(shape, generator, dtype)

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        return self.mode(params + noise)

    def mode(self, params: Tensor) -> Tensor:
        return torch.stack([part.argmax(-1) for part in params.split(self.counts, -1)], -1)

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        split = zip(self.parts, params.split(self.counts, -1), action.unbind(-1), strict=True)
        return sum_of(part.log_prob(x, a) for part, x, a in split)

    def entropy(self, params: Tensor) -> Tensor:
        split = zip(self.parts, params.split(self.counts, -1), strict=True)
        return sum_of(part.entropy(x) for part, x in split)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        split = zip(self.parts, p.split(self.counts, -1), q.split(self.counts, -1), strict=True)
        return sum_of(part.kl(x, y) for part, x, y in split)


class Bernoulli:
    """Independent bits, P(aᵢ = 1) = σ(paramsᵢ), for MultiBinary actions [..., A]."""

    def __init__(self, bits: int):
        self.linear, self.free, self.size = bits, 0, bits

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        u = torch.rand(
            *shape, self.size, dtype=dtype, device=generator.device, generator=generator
        )
        return u.clamp(1e-7, 1 - 1e-7).logit()  # logistic, so that params + noise > 0 has probability σ

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        return self.mode(params + noise)

    def mode(self, params: Tensor) -> Tensor:
        return (params > 0).to(torch.int64)

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        return logsigmoid(torch.where(action > 0, params, -params)).sum(-1)

    def entropy(self, params: Tensor) -> Tensor:
        p = params.sigmoid()
        return -(p * logsigmoid(params) + (1 - p) * logsigmoid(-params)).sum(-1)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        on, off = logsigmoid(p) - logsigmoid(q), logsigmoid(-p) - logsigmoid(-q)
        return (p.sigmoid() * on + (-p).sigmoid() * off).sum(-1)


class Gaussian:
    """N(μ, diag σ²), params = [μ, log σ], log σ independent of the state; actions are never clipped here."""

    def __init__(self, dims: int):
        self.linear, self.free, self.size = dims, dims, 2 * dims

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return torch.randn(
            *shape, self.linear, dtype=dtype, device=generator.device, generator=generator
        )

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = params.chunk(2, -1)
        return torch.addcmul(mean, log_std.exp(), noise)

    def mode(self, params: Tensor) -> Tensor:
        return params.chunk(2, -1)[0]

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        mean, log_std = params.chunk(2, -1)
        z = (action - mean) * (-log_std).exp()
        return -(0.5 * z.square() + log_std).sum(-1) - 0.5 * self.linear * math.log(2 * math.pi)

    def entropy(self, params: Tensor) -> Tensor:
        log_std = params.chunk(2, -1)[1]
        return log_std.sum(-1) + 0.5 * self.linear * math.log(2 * math.pi * math.e)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        (mean_p, log_p), (mean_q, log_q) = p.chunk(2, -1), q.chunk(2, -1)
        spread = (2 * (log_p - log_q)).exp() + ((mean_p - mean_q) * (-log_q).exp()).square()
        return (log_q - log_p + 0.5 * (spread - 1)).sum(-1)


Distribution = Categorical | MultiCategorical | Bernoulli | Gaussian


def sum_of(terms) -> Tensor:
    """Σ of an iterable of tensors, at least one."""
    return torch.stack(list(terms)).sum(0)
