"""A network for Q_φ(s, ·), fitted on-policy: an output for each action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import torch
from gymnasium import spaces

from pgrun.critics.base import Context, OwnNetwork, value_delta, value_loss
from pgrun.critics.regressed import Regressed
from pgrun.errors import Mistake
from pgrun.optimization.minibatches import shuffle_into_minibatches
from pgrun.optimization.optimizers import Optimizer
from pgrun.policies.mlp import Net
from pgrun.policies.policy import Policy
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FittedQ(Regressed):
    """A network Q_φ(s, ·) with an output for each action, fitted to the batch that the policy learns from.

    Q(sₜ, aₜ) is regressed on the same targets as V is, with V(s) = Σ_a π(a|s)Q_φ(s, a) (van Seijen et al.
    2009, expected Sarsa; with td_lambda its λ-return). An action that was not taken is not fitted.
    """

    knows_q: ClassVar[bool] = True

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        space = getattr(env, "action_space", None)
        if space is not None and not isinstance(space, spaces.Discrete):
            yield Mistake(
                "critic",
                "fitted_q",
                f"has an output for each action, and those of env={settings['env']['id']} are {space}",
                "take critic=fitted and variance=gae, or algo=off_policy_ac",
            )

    def build(self, context: Context) -> FittedQCritic:
        policy, like = context.policy, context.policy.theta
        net, phi = context.network.value_net(
            policy.net.inputs, context.init, like.dtype, like.device, policy.dist.size
        )
        return FittedQCritic(self, net, phi, policy, context.optimizer(phi))


class FittedQCritic(OwnNetwork):
    """Q_φ(s, a) of all actions, and V(s) = Σ_a π(a|s)Q_φ(s, a) of the present policy."""

    def __init__(self, settings: FittedQ, net: Net, phi: Tensor, policy: Policy, optimizer: Optimizer):
        self.settings, self.net, self.phi, self.policy = settings, net, phi, policy
        self.optimizer = optimizer
        self.layers, self.free = net.layers(phi)
        self.fits_first = settings.fit == "before"

    def every(self, obs: Tensor) -> Tensor:
        """Q_φ(s, ·) [..., A]"""
        return self.net.activations(self.layers, self.free, obs)[-1]

    def q(self, obs: Tensor, action: Tensor) -> Tensor:
        """Q_φ(s, a) [...]"""
        return self.every(obs).gather(-1, action[..., None])[..., 0]

    def values(self, rollout: Rollout) -> Tensor:
        return (self.policy.params(rollout.obs).softmax(-1) * self.every(rollout.obs)).sum(-1)

    def action_values(self, rollout: Rollout) -> Tensor:
        return self.q(rollout.obs[:-1], rollout.action)

    def every_action_value(self, rollout: Rollout) -> Tensor:
        return self.every(rollout.obs[:-1])

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return value[:-1]

    def rows(self, rollout: Rollout, gamma: float) -> Batch:
        """The rollout's own rows with Q(s, a) as their value and the targets that it is regressed on."""
        target = self.settings.targets(rollout, self.values(rollout), gamma)
        return Batch(
            **rollout.flattened_rows(),
            psi=torch.zeros_like(rollout.mask).flatten(),
            value=self.action_values(rollout).flatten(),
            target=target.flatten(),
        )

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        """Steps of φ down ½ mean (Q(s, a) − y)², in the outputs of the actions that were taken."""
        for _ in range(self.settings.epochs):
            for rows in shuffle_into_minibatches(batch, self.settings.minibatches, generator):
                kept = self.net.activations(self.layers, self.free, rows.obs)
                taken = rows.action[:, None]
                delta = value_delta(kept[-1].gather(-1, taken)[:, 0], rows, None)
                up = torch.zeros_like(kept[-1]).scatter_(-1, taken, delta[:, None])
                self.optimizer.step(self.net.gradient(self.layers, kept, up))

    def loss(self, batch: Batch) -> Tensor:
        return value_loss(self.q(batch.obs, batch.action), batch, None)
