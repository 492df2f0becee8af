"""Returns on a rollout: one backup, from which every estimator follows.

    Gₜ = rₜ + γₜ[(1 − λₜ) vₜ₊₁ + λₜ Gₜ₊₁],   G_T = v_T

with γₜ = γ(1 − terminatedₜ): nothing follows a terminal state; and λₜ = λ(1 − endedₜ): a trace never
crosses an episode's end, so that a truncated episode bootstraps from the value of its true last state.
λ = 1 is Monte Carlo, λ = 0 is TD(0), λ in between the λ-return (Sutton & Barto 2018, eq. 12.18), and
Gλ − v is GAE (Schulman et al. 2016, eq. 16). Without a critic v ≡ 0. Shapes: reward, terminated, ended
[T, N]; value [T+1, N]; results [T, N].
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

loops: Any = None  # ``pgrun.kernels.returns`` while a compiled run learns


@contextmanager
def using_loop_backups(compiled: bool) -> Iterator[None]:
    """Meanwhile backups are one compiled loop each; equal to rounding, and in float64 as in float32."""
    global loops
    before, loops = loops, importlib.import_module("pgrun.kernels.returns") if compiled else None
    try:
        yield
    finally:
        loops = before


def backup(a: Tensor, b: Tensor, last: Tensor) -> Tensor:
    """x with xₜ = aₜ + bₜ xₜ₊₁ and x_T = last: [T, …]"""
    if loops is not None and loops.can_loop(a, b, last) and a.shape == b.shape:
        backed: Tensor = loops.loop_backup(a, b, last)
        return backed
    x, rows = last, []
    for a_t, b_t in zip(reversed(a.unbind()), reversed(b.unbind()), strict=True):
        x = torch.addcmul(a_t, b_t, x)
        rows.append(x)
    return torch.stack(rows[::-1])


def lambda_return(
    reward: Tensor, terminated: Tensor, ended: Tensor, value: Tensor, gamma: float, lam: float | Tensor
) -> Tensor:
    """Gλ of the module's formula; ``lam`` may depend on time [T, 1]."""
    if loops is not None and loops.can_loop(reward, terminated, ended, value) and reward.dim() == 2:
        target: Tensor = loops.loop_lambda_return(reward, terminated, ended, value, gamma, lam)
        return target
    discount, trace = gamma * (1 - terminated), lam * (1 - ended)
    return backup(reward + discount * (1 - trace) * value[1:], discount * trace, value[-1])


def td_target(reward: Tensor, terminated: Tensor, after: Tensor, gamma: float) -> Tensor:
    """rₜ + γ(1 − dₜ)·after, after = v(sₜ₊₁) [T, N]: the λ-return at λ = 0, which needs no backup."""
    return reward + gamma * (1 - terminated) * after


def v_trace_errors(
    delta: Tensor, ratio: Tensor, gamma: float, rho_bar: float, c_bar: float, lam: float
) -> tuple[Tensor, Tensor]:
    """(vₜ − V(sₜ), rₜ + γvₜ₊₁ − V(sₜ)) [T, N] of the V-trace targets v (Espeholt et al. 2018, eq. 1):

        xₜ = min(ρ̄, ρₜ)δₜ + γλ min(c̄, ρₜ)xₜ₊₁,   vₜ = V(sₜ) + xₜ

    from δₜ = rₜ + γV(sₜ₊₁) − V(sₜ) and ρ of whole episodes, one a column; δ is 0 behind their ends. The mean
    of x under the behaviour μ is 0 where V is that of π_ρ̄ ∝ min(ρ̄μ, π): the fixed point, whatever c̄, λ are.
    """
    nothing = torch.zeros_like(delta[:1])
    x = backup(ratio.clamp(max=rho_bar) * delta, gamma * lam * ratio.clamp(max=c_bar), nothing[0])
    return x, delta + gamma * torch.cat([x[1:], nothing])


def retrace_errors(delta: Tensor, ratio: Tensor, gamma: float, lam: float, c_bar: float = 1.0) -> Tensor:
    """xₜ = Qʳ(sₜ, aₜ) − Q(sₜ, aₜ) [T, N] of Retrace(λ) (Munos et al. 2016, eq. 3 and 4):

        xₜ = δₜ + γ cₜ₊₁ xₜ₊₁,   cₜ = λ min(c̄, ρₜ),   δₜ = rₜ + γ Σ_a π(a|sₜ₊₁)Q(sₜ₊₁, a) − Q(sₜ, aₜ)

    from ρ of whole episodes, one a column; δ is 0 behind their ends. aₜ is given and has no ratio: its trace
    begins one step on. The mean of x is 0 where Q is that of π, whatever λ and the behaviour are.
    """
    following = torch.cat([ratio[1:], torch.zeros_like(ratio[:1])])
    return backup(delta, gamma * lam * following.clamp(max=c_bar), torch.zeros_like(delta[0]))


def n_step_return(
    reward: Tensor, terminated: Tensor, ended: Tensor, value: Tensor, gamma: float, n: int
) -> Tensor:
    """Σ_{k<n} γᵏ rₜ₊ₖ + γⁿ v(sₜ₊ₙ), cut at the episode's or the rollout's end: the
    backup with λ = 1, n times from v.
    """
    discount, trace = gamma * (1 - terminated), 1 - ended
    target = value
    for _ in range(min(n, len(reward))):
        backed = reward + discount * ((1 - trace) * value[1:] + trace * target[1:])
        target = torch.cat([backed, value[-1:]])
    return target[:-1]


def episode_return(reward: Tensor, mask: Tensor, time: Tensor, gamma: float) -> Tensor:
    """r(τ) = Σₜ γᵗ rₜ of each column's one episode, t from 0: [N]."""
    return (mask * gamma**time * reward).sum(0)
