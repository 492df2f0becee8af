"""Critics: V_φ(s), what it is fitted to, and how. ``NoCritic`` and ``SharedCritic`` answer the same calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from pgrun.minibatches import shuffled
from pgrun.nets import Mlp
from pgrun.optimizers import Descent
from pgrun.policies import Policy
from pgrun.returns import lambda_return, n_step_return
from pgrun.schema import NonNegative, Positive, PositiveInt, Probability
from pgrun.state import Stateless
from pgrun.types import Batch, Rollout


@dataclass(frozen=True)
class Fitted:
    """A value network. ``target``: what V is regressed on, chosen apart from Ψ:

    mc  Gₜ, bootstrapped at truncations and cuts · td0  rₜ + γV(sₜ₊₁) · n_step · td_lambda  Gλ.
    Targets are detached, and fixed for the whole batch. ``clip``: Schulman's value clipping, ±clip around the old V.
    """

    target: Literal["mc", "td0", "n_step", "td_lambda"] = "td_lambda"
    lam: Probability = 0.95
    n: PositiveInt = 5
    epochs: PositiveInt = 1
    minibatches: PositiveInt = 1
    clip: Positive | None = None
    coef: NonNegative = 0.5
    optimizer: dict[str, Any] | None = None
    read_when: ClassVar = {"lam": ("target", "td_lambda"), "n": ("target", "n_step")}

    def targets(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """[T, N]"""
        track = (rollout.reward, rollout.terminated, rollout.ended, value, gamma)
        if self.target == "n_step":
            return n_step_return(*track, self.n)
        return lambda_return(*track, {"mc": 1.0, "td0": 0.0, "td_lambda": self.lam}[self.target])


def value_loss(value: Tensor, batch: Batch, clip: float | None) -> Tensor:
    """½ mean (V − target)² over rows with mask 1; clipped, the larger of that and the same of V_old + clip(V − V_old, ±c)."""
    error = (value - batch.target).square()
    if clip is not None:
        near = batch.value + (value - batch.value).clamp(-clip, clip)
        error = error.maximum((near - batch.target).square())
    return 0.5 * (error * batch.mask).sum() / batch.mask.sum().clamp(min=1)


def value_delta(value: Tensor, batch: Batch, clip: float | None) -> Tensor:
    """∂(value_loss)/∂V [B]: (V − target)/n, and 0 where the clipped error is the larger one beyond the clip."""
    error = value - batch.target
    scale = batch.mask / batch.mask.sum().clamp(min=1)
    if clip is not None:
        moved = value - batch.value
        near = batch.value + moved.clamp(-clip, clip) - batch.target
        scale = scale * ((moved.abs() <= clip) | (error.abs() >= near.abs()))
    return scale * error


class Critic(Protocol):
    def value(self, obs: Tensor) -> Tensor:
        """V(s) [...] of normalised obs [..., D]."""

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """What V is fitted to [T, N]."""

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        """Fit on flattened rows."""

    def loss(self, batch: Batch) -> Tensor:
        """``value_loss`` of the critic as it is now."""

    def joint_delta(self, out: Tensor, batch: Batch) -> Tensor | float:
        """∂(value term of a joint loss)/∂V [B], from the policy network's outputs; 0 where the networks are separate."""

    def set_progress(self, progress: float) -> None:
        """Schedules of the critic's own optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and optimizer, where they are the critic's own."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse."""


class NoCritic(Stateless):
    """Schemes without a critic take V ≡ 0."""

    def value(self, obs: Tensor) -> Tensor:
        return obs.new_zeros(obs.shape[:-1])

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return value[:-1]

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        pass

    def loss(self, batch: Batch) -> Tensor:
        return batch.mask.new_empty(0)

    def joint_delta(self, out: Tensor, batch: Batch) -> float:
        return 0.0

    def set_progress(self, progress: float) -> None:
        pass


class SeparateCritic:
    """Its own network φ and optimizer."""

    def __init__(self, settings: Fitted, net: Mlp, phi: Tensor, optimizer: Descent):
        self.settings, self.net, self.phi, self.optimizer = settings, net, phi, optimizer
        self.layers, self.free = net.layers(phi)

    def value(self, obs: Tensor) -> Tensor:
        return self.net.activations(self.layers, self.free, obs)[-1][..., 0]

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return self.settings.targets(rollout, value, gamma)

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        for _ in range(self.settings.epochs):
            for rows in shuffled(batch, self.settings.minibatches, generator):
                self._descend(rows)

    def loss(self, batch: Batch) -> Tensor:
        return value_loss(self.value(batch.obs), batch, None)

    def _descend(self, batch: Batch) -> None:
        kept = self.net.activations(self.layers, self.free, batch.obs)
        value = kept[-1][:, 0]
        delta = value_delta(value, batch, self.settings.clip)
        self.optimizer.step(self.net.gradient(self.layers, kept, delta[:, None]))

    def joint_delta(self, out: Tensor, batch: Batch) -> float:
        return 0.0

    def set_progress(self, progress: float) -> None:
        self.optimizer.set_progress(progress)

    def state_dict(self) -> dict[str, Any]:
        return {"phi": self.phi, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.phi.copy_(state["phi"])
        self.optimizer.load_state_dict(state["optimizer"])


class SharedCritic(Stateless):
    """The value head of a shared network: fitted by the policy's own steps, through the joint loss."""

    def __init__(self, settings: Fitted, policy: Policy):
        self.settings, self.policy = settings, policy

    def value(self, obs: Tensor) -> Tensor:
        return self.policy.activations(obs)[-1][..., 0]

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return self.settings.targets(rollout, value, gamma)

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        pass

    def loss(self, batch: Batch) -> Tensor:
        return value_loss(self.value(batch.obs), batch, None)

    def joint_delta(self, out: Tensor, batch: Batch) -> Tensor:
        return self.settings.coef * value_delta(out[:, 0], batch, self.settings.clip)

    def set_progress(self, progress: float) -> None:
        pass
