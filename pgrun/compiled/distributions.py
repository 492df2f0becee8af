"""Compiled twins of the action distributions: the same class, its functions of rows one call each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.kernels import distributions as kernels
from pgrun.kernels.arrays import NO_CHOICE, NO_VECTOR, is_plain, to_array, to_rows
from pgrun.policies import distributions

if TYPE_CHECKING:
    from torch import Tensor


class CompiledRows:
    """Functions of [..., K] by way of rows [B, K]; of other types of numbers, the twin's own."""

    code: Any  # (kind, counts): the kernels' ``dist``

    def split_action(self, action: Tensor, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """(choice [B, A], vector [B, A]), one of them empty."""
        if self.code[0] == kernels.CHOICES:
            return np.ascontiguousarray(action.numpy(), np.int64).reshape(rows, -1), NO_VECTOR
        return NO_CHOICE, to_array(action).reshape(rows, -1)

    def log_prob(self, params: Tensor, action: Tensor) -> Tensor:
        if not has_rows(params):
            return super().log_prob(params, action)  # type: ignore[misc, no-any-return]
        rows = to_rows(params)
        out = np.empty(len(rows), np.float32)
        kernels.fill_log_probs(self.code, rows, *self.split_action(action, len(rows)), out)
        return torch.from_numpy(out).view(params.shape[:-1])

    def score(self, params: Tensor, action: Tensor) -> Tensor:
        if not has_rows(params):
            return super().score(params, action)  # type: ignore[misc, no-any-return]
        rows = to_rows(params)
        out, weight = np.zeros_like(rows), np.ones(len(rows), np.float32)
        kernels.add_scores(self.code, rows, *self.split_action(action, len(rows)), weight, out)
        return torch.from_numpy(out).view(params.shape)

    def entropy(self, params: Tensor) -> Tensor:
        if not has_rows(params):
            return super().entropy(params)  # type: ignore[misc, no-any-return]
        rows = to_rows(params)
        out = np.empty(len(rows), np.float32)
        kernels.fill_entropies(self.code, rows, out)
        return torch.from_numpy(out).view(params.shape[:-1])

    def entropy_gradient(self, params: Tensor) -> Tensor:
        if not has_rows(params):
            return super().entropy_gradient(params)  # type: ignore[misc, no-any-return]
        rows = to_rows(params)
        out, weight = np.zeros_like(rows), np.ones(len(rows), np.float32)
        kernels.add_entropy_gradients(self.code, rows, weight, out)
        return torch.from_numpy(out).view(params.shape)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        if not (has_rows(p) and has_rows(q) and p.shape == q.shape):
            return super().kl(p, q)  # type: ignore[misc, no-any-return]
        before, after = to_rows(p), to_rows(q)
        out = np.empty(len(before), np.float32)
        kernels.fill_divergences(self.code, before, after, out)
        return torch.from_numpy(out).view(p.shape[:-1])

    def kl_gradient(self, p: Tensor, q: Tensor) -> Tensor:
        if not (has_rows(p) and has_rows(q) and p.shape == q.shape):
            return super().kl_gradient(p, q)  # type: ignore[misc, no-any-return]
        before, after = to_rows(p), to_rows(q)
        out, weight = np.zeros_like(before), np.ones(len(before), np.float32)
        kernels.add_divergence_gradients(self.code, before, after, weight, out)
        return torch.from_numpy(out).view(q.shape)

    def metric(self, params: Tensor, u: Tensor) -> Tensor:
        if not (has_rows(params) and has_rows(u) and params.shape == u.shape):
            return super().metric(params, u)  # type: ignore[misc, no-any-return]
        rows, along = to_rows(params), to_rows(u)
        out = np.empty_like(rows)
        kernels.fill_metric(self.code, rows, along, out)
        return torch.from_numpy(out).view(params.shape)


def has_rows(x: Tensor) -> bool:
    """Whether this is float32 on the CPU, with at least one number in it."""
    return is_plain(x) and x.numel() > 0


class CompiledCategorical(CompiledRows, distributions.Categorical):
    """A ``Categorical`` whose functions of rows are one kernel call each."""

    def __init__(self, dist: distributions.Categorical):
        super().__init__(dist.size)
        self.code = (kernels.CHOICES, np.array([dist.size], np.int64))


class CompiledMultiCategorical(CompiledRows, distributions.MultiCategorical):
    """A ``MultiCategorical`` whose functions of rows are one kernel call each."""

    def __init__(self, dist: distributions.MultiCategorical):
        super().__init__(dist.counts)
        self.code = (kernels.CHOICES, np.array(dist.counts, np.int64))


class CompiledBernoulli(CompiledRows, distributions.Bernoulli):
    """A ``Bernoulli`` whose functions of rows are one kernel call each."""

    def __init__(self, dist: distributions.Bernoulli):
        super().__init__(dist.size)
        self.code = (kernels.BITS, np.zeros(0, np.int64))


class CompiledGaussian(CompiledRows, distributions.Gaussian):
    """A ``Gaussian`` whose functions of rows are one kernel call each."""

    def __init__(self, dist: distributions.Gaussian):
        super().__init__(dist.linear)
        self.code = (kernels.GAUSSIAN, np.zeros(0, np.int64))


TWINS: dict[type, type] = {
    distributions.Categorical: CompiledCategorical,
    distributions.MultiCategorical: CompiledMultiCategorical,
    distributions.Bernoulli: CompiledBernoulli,
    distributions.Gaussian: CompiledGaussian,
}


def compile_distribution(dist: Any) -> Any:
    """The compiled twin of an action distribution; one of the user's own stays what it is."""
    twin = TWINS.get(type(dist))
    return dist if twin is None else twin(dist)
