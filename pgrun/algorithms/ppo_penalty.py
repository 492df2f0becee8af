from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import torch

from pgrun.algorithms.base import Learner, Repeated
from pgrun.config.schema import Positive
from pgrun.errors import Mistake
from pgrun.optimization.natural_gradient import mean_kl
from pgrun.policies.importance import weighted_log_ratio
from pgrun.types import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PpoPenalty(Repeated):
    """PPO with an adaptive KL penalty: 1/count Σ mask·(ρΨ − β·KL(old‖new)) (Schulman et al. 2017, eq. 8).

    Once an iteration, with d the mean KL it has made: β ← β/2 if d < d_targ/1.5, β ← 2β if d > 1.5·d_targ,
    within [``beta_min``, ``beta_max``]: halved without end it becomes 0, which no doubling leaves again, and
    doubled ∞. ``step/beta_bound`` tells when it stands at one of them.
    """

    target_kl: Positive = 0.01  # d_targ
    beta: Positive = 1.0  # before the first iteration
    beta_min: Positive = 1e-10  # below, the penalty is lost in the rounding of ρΨ
    beta_max: Positive = 1e10  # and at most
    penalty: float = field(init=False, default=0.0)  # β now

    tags: ClassVar[tuple[str, ...]] = ("step/beta", "step/beta_bound")

    def __post_init__(self) -> None:
        self.penalty = self.beta

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        low, start, high = (settings["algo"][name] for name in ("beta_min", "beta", "beta_max"))
        if not low <= start <= high:
            yield Mistake(
                "algo.beta",
                f"{start:g}",
                f"is not between algo.beta_min={low:g} and algo.beta_max={high:g}",
                "take one that is, or move the bounds",
            )

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return (batch.mask * batch.psi * weighted_log_ratio(log_prob, batch).exp()).sum() / batch.count

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return batch.mask * batch.psi * weighted_log_ratio(log_prob, batch).exp() / batch.count

    @property
    def kl_weight(self) -> float:
        return self.penalty

    def improve(self, batch: Batch, learner: Learner) -> None:
        super().improve(batch, learner)
        self.adapt(float(mean_kl(learner.policy, batch)))

    def adapt(self, kl: float) -> None:
        """The rule for β, from the KL of one iteration."""
        if kl < self.target_kl / 1.5:
            self.penalty = max(self.penalty / 2, self.beta_min)
        elif kl > self.target_kl * 1.5:
            self.penalty = min(self.penalty * 2, self.beta_max)

    def scalars(self) -> dict[str, Tensor]:
        bound = float(self.penalty >= self.beta_max) - float(self.penalty <= self.beta_min)
        return {"step/beta": torch.tensor(self.penalty), "step/beta_bound": torch.tensor(bound)}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"penalty": self.penalty}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.penalty = state["penalty"]
