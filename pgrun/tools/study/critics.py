"""Critics that only a study has: none at all, one that knows nothing, and the one a run was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pgrun.config.schema import Positive
from pgrun.critics.base import Context, Critic, CriticSettings, NoCritic
from pgrun.critics.fitted import Fitted, SeparateCritic, SharedCritic
from pgrun.policies.policy import Policy
from pgrun.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class None_(CriticSettings):
    """Schemes that need a critic are left out."""

    learns: ClassVar[bool] = False

    def build(self, context: Context) -> NoCritic:
        return NoCritic()


@dataclass(frozen=True)
class Random(CriticSettings):
    """``scale`` times a value network as it was initialised: wrong everywhere, so that a bias shows.

    Small, it knows nothing, and what a scheme leaves to it is missing from the gradient; large, it misleads,
    in any direction.
    """

    scale: Positive = 0.1
    learns: ClassVar[bool] = False

    def build(self, context: Context) -> Any:
        policy = context.policy
        like = policy.theta
        net, phi = context.network.value_net(policy.net.inputs, context.init, like.dtype, like.device)
        return InRawUnits(SeparateCritic(Fitted(), net, phi, context.optimizer(phi)), self.scale)


@dataclass(frozen=True)
class Run(CriticSettings):
    """What the run at ``run`` had fitted; ``load_run_critic`` builds it."""

    learns: ClassVar[bool] = False


class InRawUnits:
    """A critic of scaled rewards: V times ``scale``."""

    def __init__(self, critic: SeparateCritic | SharedCritic, scale: float):
        self.critic, self.scale = critic, scale

    def values(self, rollout: Rollout) -> Tensor:
        return self.scale * self.critic.values(rollout)


def load_run_critic(context: Context, tensors: Mapping[str, Tensor], scale: float) -> Any:
    """From the tensors of policy.safetensors. Raises ``LookupError`` where the run saved no V."""
    policy: Policy = context.policy
    if policy.value_outputs:
        return InRawUnits(SharedCritic(Fitted(), policy), scale)
    phi = tensors.get("critic.phi")
    if phi is None:
        raise LookupError(
            "it saved no critic of its own: its variance scheme used none, or none that is fitted"
        )
    net, _ = context.network.value_net(policy.net.inputs, context.init)
    if phi.shape != (net.size,):
        raise LookupError(f"its critic has {len(phi)} parameters, and its network {net.size}")
    return InRawUnits(SeparateCritic(Fitted(), net, phi.clone(), context.optimizer(phi)), scale)


__all__ = ["Critic", "None_", "Random", "Run", "load_run_critic"]
