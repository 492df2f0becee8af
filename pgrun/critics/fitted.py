"""Networks for V_φ(s): their own, or the head of a shared one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import torch

from pgrun.config.schema import NonNegative, Positive
from pgrun.critics.base import Context, OwnNetwork, StateValue, value_delta, value_loss
from pgrun.critics.regressed import Regressed
from pgrun.errors import Mistake
from pgrun.optimization.minibatches import shuffle_into_minibatches
from pgrun.optimization.optimizers import Optimizer
from pgrun.optimization.schedules import Schedule
from pgrun.policies.mlp import Net
from pgrun.policies.policy import Policy
from pgrun.stateless import Stateless
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Fitted(Regressed):
    """A value network, fitted to ``target``. ``clip``: Schulman's value clipping, ±clip around the old V."""

    clip: Positive | None = None
    coef: NonNegative = 0.5  # of the value loss, with network=shared
    shares: ClassVar[bool] = True

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        network = settings["network"]["name"]
        if settings["critic"].get("fit") == "before" and network in ("shared", "joint"):
            yield Mistake(
                "critic.fit",
                "before",
                f"fits the critic by itself, and network={network} fits both at once",
                "add network=separate",
            )

    def build(self, context: Context) -> SeparateCritic | SharedCritic:
        policy = context.policy
        if policy.value_outputs:
            return SharedCritic(self, policy)
        like = policy.theta
        net, phi = context.network.value_net(policy.net.inputs, context.init, like.dtype, like.device)
        return SeparateCritic(self, net, phi, context.optimizer(phi))


class SeparateCritic(OwnNetwork, StateValue):
    """A critic with its own network φ and optimizer."""

    def __init__(self, settings: Fitted, net: Net, phi: Tensor, optimizer: Optimizer):
        self.settings, self.net, self.phi, self.optimizer = settings, net, phi, optimizer
        self.layers, self.free = net.layers(phi)
        self.fits_first = settings.fit == "before"

    def value(self, obs: Tensor) -> Tensor:
        return self.net.activations(self.layers, self.free, obs)[-1][..., 0]

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return self.settings.targets(rollout, value, gamma)

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        for _ in range(self.settings.epochs):
            for rows in shuffle_into_minibatches(batch, self.settings.minibatches, generator):
                self.optimizer.step(self.loss_gradient(rows))

    def loss(self, batch: Batch) -> Tensor:
        return value_loss(self.value(batch.obs), batch, None)

    def loss_gradient(self, batch: Batch) -> Tensor:
        """∂(value loss)/∂φ"""
        kept = self.net.activations(self.layers, self.free, batch.obs)
        delta = value_delta(kept[-1][:, 0], batch, self.settings.clip)
        return self.net.gradient(self.layers, kept, delta[:, None])


class SharedCritic(StateValue, Stateless):
    """The value head of a shared network: fitted by the policy's own steps, through the joint loss."""

    fits_first = False

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

    @property
    def schedules(self) -> list[Schedule]:
        return []
