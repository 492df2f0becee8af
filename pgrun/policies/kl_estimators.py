"""Estimates of a KL from one action. With l = log π(a|s) − log ρ(a|s), a drawn from π (Schulman 2020,
"Approximating KL divergence"):

    k1  l              E k1 = KL(π‖ρ)
    k2  l²/2           biased, by little where π is near ρ
    k3  e⁻ˡ − 1 + l    E k3 = KL(π‖ρ), and k3 ≥ 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def estimate_kl(name: str, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
    """(k(l), k'(l)) of one of k1, k2, k3."""
    if name == "k1":
        return log_ratio, torch.ones_like(log_ratio)
    if name == "k2":
        return log_ratio.square() / 2, log_ratio
    return torch.expm1(-log_ratio) + log_ratio, -torch.expm1(-log_ratio)
