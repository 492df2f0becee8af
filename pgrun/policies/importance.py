"""Importance ratios ρ = π_θ(a|s)/π_old(a|s) by their logarithms: ρ overflows from log ρ = 89 on in float32,
and 0·∞ is no number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pgrun.types import Batch, blank_unless

if TYPE_CHECKING:
    from torch import Tensor


def weighted_log_ratio(log_prob: Tensor, batch: Batch) -> Tensor:
    """log ρ [B], 0 in rows with mask 0 or Ψ = 0: these enter nothing, however large their ρ is."""
    return torch.where(batch.mask * batch.psi != 0, log_prob - batch.log_prob, 0.0)


def mean_log_ratio(log_prob: Tensor, batch: Batch, episode: Tensor) -> Tensor:
    """1/|τ| Σ log ρ over the steps of each row's episode [B], 0 in rows with mask 0 or Ψ = 0; ``episode`` [B]
    numbers the episodes, of which all rows are there.
    """
    step = torch.where(batch.mask > 0, log_prob - batch.log_prob, 0.0)
    mean = mean_by_episode(step, batch, episode)
    return torch.where(batch.mask * batch.psi != 0, mean, 0.0)


def mean_by_episode(x: Tensor, batch: Batch, episode: Tensor) -> Tensor:
    """The mean of x over the rows with mask 1 of each row's episode [B]; x is 0 where the mask is.

    On a device, where to look at the largest number would wait for it, a row is numbered by its column.
    """
    if x.device.type == "cpu":
        episodes = int(episode.max()) + 1
    else:
        episodes = batch.shape[1]
        episode = torch.arange(len(x), device=x.device) % episodes
    empty = x.new_zeros(episodes)
    steps = empty.index_add(0, episode, batch.mask).clamp(min=1)
    return (empty.index_add(0, episode, x) / steps)[episode]


def effective_share(log_weight: Tensor, count: Tensor | float) -> Tensor:
    """Effective sample size ÷ samples, (ΣW)²/(n ΣW²) (Kong 1992), from log W [K] and n = ``count``.

    Rows that are no samples have log W = −∞. No entry where W is 0 throughout, or infinite: then it is 0/0 or
    ∞/∞.
    """
    log_weight = log_weight.double()
    total, squares = log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)
    return blank_unless(total.isfinite(), (2 * total - squares).exp() / count)
