"""What critics that are fitted to the batch's own returns share: the targets and the passes over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pgrun.config.schema import PositiveInt, Probability, Repeats
from pgrun.critics.base import CriticSettings
from pgrun.returns import lambda_return, n_step_return, td_target
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Regressed(CriticSettings):
    """``target``: what the critic is regressed on, chosen apart from Ψ:

    mc Gₜ, bootstrapped at truncations and cuts · td0 rₜ + γV(sₜ₊₁) · n_step · td_lambda Gλ. Targets are
    detached, and fixed for the whole batch.

    ``fit=before`` fits to the batch first and takes Ψ from the fitted critic, as batch actor-critic is often
    written down: a baseline that has seen the returns it is subtracted from, which biases. ``fit=after``
    takes Ψ from the critic of earlier batches.
    """

    target: Literal["mc", "td0", "n_step", "td_lambda"] = "td_lambda"
    lam: Probability = 0.95  # λ of target=td_lambda
    n: PositiveInt = 5  # rewards of target=n_step
    epochs: Repeats = 1  # passes over a batch
    minibatches: PositiveInt = 1  # parts of a batch, with a step for each
    fit: Literal["after", "before"] = "after"
    optimizer: dict[str, Any] | None = None
    read_when: ClassVar = {"lam": ("target", "td_lambda"), "n": ("target", "n_step")}

    def targets(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """[T, N], from V(s) [T+1, N]."""
        if self.target == "td0":
            return td_target(rollout.reward, rollout.terminated, value[1:], gamma)
        track = (rollout.reward, rollout.terminated, rollout.ended, value, gamma)
        if self.target == "n_step":
            return n_step_return(*track, self.n)
        return lambda_return(*track, 1.0 if self.target == "mc" else self.lam)
