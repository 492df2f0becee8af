from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pgrun.types import Rollout
from pgrun.variance.corrected import Corrected

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AllActions(Corrected):
    """The all-action gradient: Σₜ Σ_a π(a|sₜ) Q(sₜ, a) ∇log π(a|sₜ), with no draw of the action in it.

    Sutton et al. 2001, "Comparing policy-gradient algorithms", eq. 3; Asadi et al. 2017 (mean actor-critic),
    eq. 5; Ciosek & Whiteson 2020 (expected policy gradients). Ψₜ = 0: the gradient is the correction alone,
    so that the action's part of a term's variance is 0, and the rest's too. Unbiased where Q is right;
    ``critic=scaled`` scales the gradient with it, and ``critic=fitted_q`` biases it by what Σₜ Σ_a of its
    error is. With a Q of replayed transitions: ``algo=off_policy_ac algo.baseline=expectation``.
    """

    def psi(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return torch.zeros_like(rollout.reward)
