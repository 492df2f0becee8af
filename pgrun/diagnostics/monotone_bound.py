"""The bound that TRPO is derived from, of one update on a problem whose table is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pgrun.critics.exact import values_by_steps_left
from pgrun.exact import Problem

if TYPE_CHECKING:
    from torch import Tensor

NOBODY = 1e-17  # the chance that an episode is still going: nothing in float64


def monotone_bound(p: Problem, before: Tensor, after: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """(L, L − C·max_s KL(before‖after)) [] of two policies π(a|s) [S, A], the second never above J(after):

        L = J(before) + Σₜ γᵗ Σ_s P(sₜ = s) Σ_a after(a|s) Aₜ(s, a),   P and A of ``before``
        C = 4 max|A| Σ_{t<H} t γᵗ  ≤  4 max|A| γ/(1 − γ)²

    (Schulman et al. 2015, theorem 1; the sum over the time limit's steps in the place of its limit, so that γ
    may be 1: the two differ by 4 max|A| α²t at step t, α² ≤ KL.)
    """
    v = values_by_steps_left(p, before, gamma)  # [K+1, S]
    q = p.reward + gamma * torch.einsum("san,kn->ksa", p.transition, v)  # with k more steps behind it
    left = v[torch.arange(1, len(q) + 1).clamp(max=len(v) - 1)]
    advantage = q - left[..., None]
    gained = ((after - before) * advantage).sum(-1)  # [K+1, S]; Σ_a before·A = 0
    follows = torch.einsum("sa,san->sn", before, p.transition)
    surrogate, here = p.start @ v[min(p.horizon, len(v) - 1)], p.start
    for t in range(p.horizon):
        surrogate = surrogate + gamma**t * here @ gained[min(p.horizon - t - 1, len(q) - 1)]
        here = here @ follows
        if here.sum() < NOBODY:
            break
    kl = torch.where(before > 0, before * (before / after).log(), 0.0).sum(-1).max()
    time = torch.arange(p.horizon, dtype=torch.float64)
    constant = 4 * advantage.abs().max() * (time * gamma**time).sum()
    return surrogate, surrogate - constant * kl
