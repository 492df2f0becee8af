"""Two networks side by side on one flat θ: a critic and an actor that one optimizer moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from pgrun.policies.mlp import Factors

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.policies.mlp import Net


class PairActivations(list["Tensor"]):
    """[x, y] of rows, and what each of the two networks keeps."""

    critic: list[Tensor]
    actor: list[Tensor]


class Pair:
    """y = [V_φ(x), f_θ(x)] on the vector (φ, θ): no layer in common, and yet one gradient with one norm."""

    def __init__(self, critic: Net, actor: Net):
        self.critic, self.actor = critic, actor
        self.inputs, self.free, self.size = actor.inputs, actor.free, critic.size + actor.size

    def layers(self, theta: Tensor) -> tuple[Any, Tensor]:
        critic, none = self.critic.layers(theta[: self.critic.size])
        actor, free = self.actor.layers(theta[self.critic.size :])
        return (critic, none, actor), free

    def groups(self) -> dict[str, int]:
        critic = {f"critic_{name}": size for name, size in self.critic.groups().items()}
        return critic | self.actor.groups()

    def init(self, scheme: str, gains: Sequence[float], free: float, generator: torch.Generator) -> Tensor:
        critic = self.critic.init(scheme, gains[:1], 0.0, generator)
        return torch.cat([critic, self.actor.init(scheme, gains[1:], free, generator)])

    def activations(self, layers: Any, free: Tensor, x: Tensor) -> list[Tensor]:
        of_critic, none, of_actor = layers
        critic = self.critic.activations(of_critic, none, x)
        actor = self.actor.activations(of_actor, free, x)
        kept = PairActivations([x, torch.cat([critic[-1], actor[-1]], -1)])
        kept.critic, kept.actor = critic, actor
        return kept

    def backpropagate(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Factors:
        """The factors of both, those of the critic in front, as they lie in the vector."""
        assert isinstance(kept, PairActivations)
        critic = self.critic.backpropagate(layers[0], kept.critic, delta[:, :1])
        actor = self.actor.backpropagate(layers[2], kept.actor, delta[:, 1:])
        assert isinstance(critic, Factors)
        assert isinstance(actor, Factors)
        deltas, inputs = [*critic.delta, *actor.delta], [*critic.inputs, *actor.inputs]
        return Factors(deltas, inputs, actor.free, actor.bias)

    def gradient(self, layers: Any, kept: list[Tensor], delta: Tensor) -> Tensor:
        assert isinstance(kept, PairActivations)
        critic = self.critic.gradient(layers[0], kept.critic, delta[:, :1])
        return torch.cat([critic, self.actor.gradient(layers[2], kept.actor, delta[:, 1:])])

    def tangent(self, change: tuple[Any, Tensor], layers: Any, kept: list[Tensor]) -> Tensor:
        assert isinstance(kept, PairActivations)
        (of_critic, none, of_actor), free = change
        critic = self.critic.tangent((of_critic, none), layers[0], kept.critic)
        return torch.cat([critic, self.actor.tangent((of_actor, free), layers[2], kept.actor)], 1)
