"""Action distributions as pure functions of their parameters, one class per action space.

``params`` are the policy network's outputs [..., size]. A sample is a deterministic function of params and
noise, so that the noise of a whole rollout is drawn at once: ``act`` is that sample, or the mode without
noise, for NumPy arrays as well as tensors. ``encode(action)`` is the action as ``encoded`` numbers, one-hot
where it is a choice. ``score`` is ∂log π(a)/∂params and ``entropy_gradient`` ∂H/∂params, both [..., size], in
closed form. ``kl(p, q)`` is the exact KL(p‖q), not an estimate, ``kl_gradient`` ∂KL(p‖q)/∂q;
``metric(params, u)`` is Mu with M = ∂²KL(p‖q)/∂q² at q = p, the Fisher matrix in the distribution's own
parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor


Array = Any  # a tensor, or a NumPy array: where acting uses only what both understand


class Distribution(Protocol):
    """What a policy asks of its distribution; the module's docstring says what each is."""

    linear: int  # of its params, those that the network makes of a state
    free: int  # and those that see no state
    size: int  # of its params
    encoded: int

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor: ...

    def act(self, params: Array, noise: Array | None) -> Array: ...

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor: ...

    def encode(self, action: Tensor) -> Tensor: ...

    def entropy(self, params: Tensor) -> Tensor: ...

    def score(self, params: Tensor, action: Tensor) -> Tensor: ...

    def entropy_gradient(self, params: Tensor) -> Tensor: ...

    def kl(self, p: Tensor, q: Tensor) -> Tensor: ...

    def metric(self, params: Tensor, u: Tensor) -> Tensor: ...

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor: ...


class Categorical:
    """π(a) = softmax(params)ₐ over n actions; sampled by the Gumbel-max trick (Gumbel 1954)."""

    def __init__(self, n: int):
        self.linear, self.free, self.size, self.encoded = n, 0, n, n

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        draws = torch.empty(*shape, self.size, dtype=dtype, device=generator.device)
        return draws.exponential_(generator=generator).log_().neg_()

    def act(self, params: Array, noise: Array | None) -> Array:
        return (params if noise is None else params + noise).argmax(-1)

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        return params.log_softmax(-1).gather(-1, action[..., None])[..., 0]

    def encode(self, action: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(action, self.size)

    def entropy(self, params: Tensor) -> Tensor:
        log_p = params.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        return params.softmax(-1).neg_().scatter_add_(-1, action[..., None], torch.ones_like(params))

    def entropy_gradient(self, params: Tensor) -> Tensor:
        log_p = params.log_softmax(-1)
        p = log_p.exp()
        return -p * (log_p - (p * log_p).sum(-1, keepdim=True))

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        log_p = p.log_softmax(-1)
        return (log_p.exp() * (log_p - q.log_softmax(-1))).sum(-1)

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        p = params.softmax(-1)
        return p * (u - (p * u).sum(-1, keepdim=True))

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        return q.softmax(-1) - p.softmax(-1)


class MultiCategorical:
    """Independent categoricals, one per entry of a MultiDiscrete action [..., A]."""

    def __init__(self, counts: Sequence[int]):
        self.parts = [Categorical(n) for n in counts]
        self.counts = list(counts)
        self.linear = self.size = self.encoded = sum(counts)
        self.free = 0

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return Categorical(self.size).noise(shape, generator, dtype)

    def act(self, params: Array, noise: Array | None) -> Array:
        noisy = params if noise is None else params + noise
        ends = list(accumulate(self.counts))
        parts = [noisy[..., end - n : end].argmax(-1) for n, end in zip(self.counts, ends, strict=True)]
        return array_library(params).stack(parts, -1)

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        split = zip(self.parts, torch.split(params, self.counts, -1), action.unbind(-1), strict=True)
        return sum_of(part.log_prob(x, a) for part, x, a in split)

    def encode(self, action: Tensor) -> Tensor:
        split = zip(self.parts, action.unbind(-1), strict=True)
        return torch.cat([part.encode(a) for part, a in split], -1)

    def entropy(self, params: Tensor) -> Tensor:
        split = zip(self.parts, torch.split(params, self.counts, -1), strict=True)
        return sum_of(part.entropy(x) for part, x in split)

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        split = zip(self.parts, torch.split(params, self.counts, -1), action.unbind(-1), strict=True)
        return torch.cat([part.score(x, a) for part, x, a in split], -1)

    def entropy_gradient(self, params: Tensor) -> Tensor:
        split = zip(self.parts, torch.split(params, self.counts, -1), strict=True)
        return torch.cat([part.entropy_gradient(x) for part, x in split], -1)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        split = zip(self.parts, torch.split(p, self.counts, -1), torch.split(q, self.counts, -1), strict=True)
        return sum_of(part.kl(x, y) for part, x, y in split)

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        split = zip(
            self.parts, torch.split(params, self.counts, -1), torch.split(u, self.counts, -1), strict=True
        )
        return torch.cat([part.metric(x, y) for part, x, y in split], -1)

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        split = zip(self.parts, torch.split(p, self.counts, -1), torch.split(q, self.counts, -1), strict=True)
        return torch.cat([part.kl_gradient(x, y) for part, x, y in split], -1)


class Bernoulli:
    """Independent bits, P(aᵢ = 1) = σ(paramsᵢ), for MultiBinary actions [..., A]."""

    def __init__(self, bits: int):
        self.linear, self.free, self.size, self.encoded = bits, 0, bits, bits

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        u = torch.rand(*shape, self.size, dtype=dtype, device=generator.device, generator=generator)
        return u.clamp(1e-7, 1 - 1e-7).logit()  # logistic, so that params + noise > 0 has probability σ

    def act(self, params: Array, noise: Array | None) -> Array:
        return ((params if noise is None else params + noise) > 0) * 1

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(torch.where(action > 0, params, -params)).sum(-1)

    def encode(self, action: Tensor) -> Tensor:
        return action

    def entropy(self, params: Tensor) -> Tensor:
        p = params.sigmoid()
        return -(
            p * torch.nn.functional.logsigmoid(params) + (1 - p) * torch.nn.functional.logsigmoid(-params)
        ).sum(-1)

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        return action - params.sigmoid()

    def entropy_gradient(self, params: Tensor) -> Tensor:
        p = params.sigmoid()
        return -params * p * (1 - p)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        on, off = (
            torch.nn.functional.logsigmoid(p) - torch.nn.functional.logsigmoid(q),
            torch.nn.functional.logsigmoid(-p) - torch.nn.functional.logsigmoid(-q),
        )
        return (p.sigmoid() * on + (-p).sigmoid() * off).sum(-1)

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        p = params.sigmoid()
        return p * (1 - p) * u

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        return q.sigmoid() - p.sigmoid()


class Gaussian:
    """N(μ, diag σ²), params = [μ, log σ], log σ independent of the state; actions are never clipped here."""

    def __init__(self, dims: int):
        self.linear, self.free, self.size, self.encoded = dims, dims, 2 * dims, dims

    def noise(self, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return torch.randn(*shape, self.linear, dtype=dtype, device=generator.device, generator=generator)

    def act(self, params: Array, noise: Array | None) -> Array:
        mean, log_std = params[..., : self.linear], params[..., self.linear :]
        return mean if noise is None else mean + array_library(params).exp(log_std) * noise

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        mean, log_std = params.chunk(2, -1)
        z = (action - mean) * (-log_std).exp()
        return -(0.5 * z.square() + log_std).sum(-1) - 0.5 * self.linear * math.log(2 * math.pi)

    def encode(self, action: Tensor) -> Tensor:
        return action

    def entropy(self, params: Tensor) -> Tensor:
        log_std = params.chunk(2, -1)[1]
        return log_std.sum(-1) + 0.5 * self.linear * math.log(2 * math.pi * math.e)

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        mean, log_std = params.chunk(2, -1)
        inverse = (-log_std).exp()
        z = (action - mean) * inverse
        return torch.cat([z * inverse, z.square() - 1], -1)

    def entropy_gradient(self, params: Tensor) -> Tensor:
        mean, log_std = params.chunk(2, -1)
        return torch.cat([torch.zeros_like(mean), torch.ones_like(log_std)], -1)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        (mean_p, log_p), (mean_q, log_q) = p.chunk(2, -1), q.chunk(2, -1)
        spread = (2 * (log_p - log_q)).exp() + ((mean_p - mean_q) * (-log_q).exp()).square()
        return (log_q - log_p + 0.5 * (spread - 1)).sum(-1)

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        precision = (-2 * params[..., self.linear :]).exp()
        return u * torch.cat([precision, torch.full_like(precision, 2.0)], -1)

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        (mean_p, log_p), (mean_q, log_q) = p.chunk(2, -1), q.chunk(2, -1)
        precision, gap = (-2 * log_q).exp(), mean_q - mean_p
        spread = precision * ((2 * log_p).exp() + gap.square())
        return torch.cat([precision * gap, 1 - spread], -1)


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """Σ of an iterable of tensors, at least one."""
    return torch.stack(list(terms)).sum(0)


def array_library(x: Array) -> Any:
    """The module that x's functions are in."""
    return np if isinstance(x, np.ndarray) else torch
