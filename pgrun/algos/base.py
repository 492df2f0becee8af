"""What every first-order algorithm shares: steps up the gradient of its surrogate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pgrun.critics import Critic
from pgrun.minibatches import shuffled
from pgrun.optimizers import Descent
from pgrun.policies import Policy
from pgrun.schema import NonNegative, PositiveInt
from pgrun.types import Batch


@dataclass
class Learner:
    """What an update works on."""

    policy: Policy
    critic: Critic
    optimizer: Descent
    generator: torch.Generator  # shuffles minibatches


@dataclass
class Algorithm:
    """A surrogate L(θ) whose gradient at θ_old is the policy gradient, and the steps taken on it.

    ``entropy``: c_H in the objective L + c_H·(1/count) Σ mask·H(π(·|s)) (Williams & Peng 1991).
    """

    entropy: NonNegative = 0.0

    samplers: ClassVar[tuple[str, ...]] = ("episodes", "steps")
    clips: ClassVar[bool] = False

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        """L, to be increased: a pure function of log π_θ(a|s) [B] and the batch."""
        raise NotImplementedError

    def update(self, batch: Batch, learner: Learner) -> dict[str, Tensor]:
        """Move θ, then fit the critic: Ψ was computed before, so both use the same old values."""
        loss = self.improve(batch, learner)
        return {"policy/loss": loss, "value/loss": learner.critic.fit(batch, learner.generator)}

    def improve(self, batch: Batch, learner: Learner) -> Tensor:
        """One step on the whole batch; −L before it."""
        return self.ascend(batch, learner)

    def ascend(self, batch: Batch, learner: Learner) -> Tensor:
        """One step on the rows of ``batch``; −L before it."""
        policy = learner.policy
        kept = policy.activations(batch.obs)
        with torch.enable_grad():
            out = kept[-1].requires_grad_()
            params = out[:, policy.first :]
            loss = -self.surrogate(policy.dist.log_prob(params, batch.action), batch)
            total = loss + learner.critic.joint(out, batch)
            if self.entropy:
                bonus = (batch.mask * policy.dist.entropy(params)).sum() / batch.count
                total = total - self.entropy * bonus
            (delta,) = torch.autograd.grad(total, out)
        learner.optimizer.step(policy.net.gradient(policy.layers, kept, delta))
        return loss.detach()

    def clipped(self, ratio: Tensor, batch: Batch) -> Tensor:
        """Rows whose gradient the objective zeroes [B], for algorithms that clip."""
        raise NotImplementedError

    def set_progress(self, progress: float) -> None:
        """Schedules of the algorithm's own settings."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@dataclass
class Repeated(Algorithm):
    """Several steps on one batch: ``epochs`` passes over it, in ``minibatches`` of equal size drawn at random."""

    epochs: PositiveInt = 1
    minibatches: PositiveInt = 1

    def improve(self, batch: Batch, learner: Learner) -> Tensor:
        losses = []
        for _ in range(self.epochs):
            for rows in shuffled(batch, self.minibatches, learner.generator):
                losses.append(self.ascend(rows, learner))
            if self.stops(batch, learner):
                break
        return torch.stack(losses).mean()

    def stops(self, batch: Batch, learner: Learner) -> bool:
        """Whether to leave the remaining epochs out."""
        return False
