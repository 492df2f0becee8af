"""What every critic answers, the loss they share, and the critic of schemes that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import gymnasium as gym
import torch

from pgrun.envs import Envs
from pgrun.errors import Mistake
from pgrun.optimization.optimizers import Optimizer
from pgrun.optimization.schedules import Schedule
from pgrun.policies.policy import Network, Policy
from pgrun.stateless import Stateless
from pgrun.types import Batch, Rollout
from pgrun.variance.base import Scheme, returns_to_go

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Context:
    """What the settings of a critic build it from."""

    policy: Policy
    network: Network
    algorithm: Any
    envs: Envs
    gamma: float
    init: torch.Generator
    noise: torch.Generator
    optimizer: Callable[[Tensor], Optimizer]


@dataclass(frozen=True)
class CriticSettings:
    """A kind of critic."""

    knows_q: ClassVar[bool] = False  # can tell Q(s, a)
    of_actions: ClassVar[bool] = False  # learns Q(s, a) from replayed transitions
    shares: ClassVar[bool] = False  # can be a head of the policy's network
    learns: ClassVar[bool] = True  # has parameters, and an optimizer

    @classmethod
    def misfits(cls, settings: Mapping[str, Any], env: gym.Env | None) -> Iterator[Mistake]:
        """Why it cannot be had with these settings and this environment, each with what can."""
        yield from ()

    def build(self, context: Context) -> Critic:
        raise NotImplementedError


class Critic(Protocol):
    @property
    def fits_first(self) -> bool:
        """Whether it is fitted before Ψ is taken from it."""

    def values(self, rollout: Rollout) -> Tensor:
        """V(s) of every observation [T+1, N]."""

    def action_values(self, rollout: Rollout) -> Tensor:
        """Q(s, a) of every action taken [T, N], for schemes that weigh with it."""

    def every_action_value(self, rollout: Rollout) -> Tensor:
        """Q(s, a) of every action in each state [T, N, A], of a critic that knows a table."""

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """What V is fitted to [T, N]."""

    def rows(self, rollout: Rollout, gamma: float) -> Batch | None:
        """What it learns from, where that is not what the policy learns from."""

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        """Fit on flattened rows."""

    def loss(self, batch: Batch) -> Tensor:
        """``value_loss`` of the critic as it is now."""

    def joint_delta(self, out: Tensor, batch: Batch) -> Tensor | float:
        """∂(value term of a joint loss)/∂V [B], from the policy network's outputs; 0
        where the networks are separate.
        """

    @property
    def schedules(self) -> list[Schedule]:
        """Those of its own optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and optimizer, where they are the critic's own."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse."""


class NoCritic(Stateless):
    """Schemes without a critic take V ≡ 0."""

    fits_first = False

    def values(self, rollout: Rollout) -> Tensor:
        return rollout.obs.new_zeros(rollout.obs.shape[:-1])

    def action_values(self, rollout: Rollout) -> Tensor:
        raise NotImplementedError

    def every_action_value(self, rollout: Rollout) -> Tensor:
        raise NotImplementedError

    def rows(self, rollout: Rollout, gamma: float) -> None:
        return None

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return value[:-1]

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        pass

    def loss(self, batch: Batch) -> Tensor:
        return batch.mask.new_empty(0)

    def joint_delta(self, out: Tensor, batch: Batch) -> float:
        return 0.0

    @property
    def schedules(self) -> list[Schedule]:
        return []


def has_values(critic: Critic, scheme: Scheme) -> bool:
    """Whether an update's rows have the critic's word: that of one that nothing is fitted in only where the
    scheme asks for V.
    """
    return not isinstance(critic, NoCritic) and (scheme.uses_value or not isinstance(critic, Unfitted))


class Unfitted(Stateless):
    """A critic that nothing is fitted in: its values come from elsewhere."""

    fits_first = False

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        """Gₜ, which V is compared with."""
        return returns_to_go(rollout, value, gamma)

    def rows(self, rollout: Rollout, gamma: float) -> None:
        return None

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        pass

    def loss(self, batch: Batch) -> Tensor:
        return batch.mask.new_empty(0)

    def joint_delta(self, out: Tensor, batch: Batch) -> float:
        return 0.0

    @property
    def schedules(self) -> list[Schedule]:
        return []


class OwnNetwork:
    """A critic with parameters φ and an optimizer of its own."""

    phi: Tensor
    optimizer: Optimizer

    def joint_delta(self, out: Tensor, batch: Batch) -> float:
        return 0.0

    @property
    def schedules(self) -> list[Schedule]:
        return [self.optimizer.schedule]

    def state_dict(self) -> dict[str, Any]:
        return {"phi": self.phi, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.phi.copy_(state["phi"])
        self.optimizer.load_state_dict(state["optimizer"])


class StateValue:
    """A critic that knows V(s) alone."""

    def value(self, obs: Tensor) -> Tensor:
        """V(s) [...] of normalised obs [..., D]."""
        raise NotImplementedError

    def values(self, rollout: Rollout) -> Tensor:
        return self.value(rollout.obs)

    def action_values(self, rollout: Rollout) -> Tensor:
        raise NotImplementedError

    def every_action_value(self, rollout: Rollout) -> Tensor:
        raise NotImplementedError

    def rows(self, rollout: Rollout, gamma: float) -> None:
        return None


def value_loss(value: Tensor, batch: Batch, clip: float | None) -> Tensor:
    """½ mean (V − target)² over rows with mask 1; clipped, the larger of that and the same of
    V_old + clip(V − V_old, ±c).
    """
    error = (value - batch.target).square()
    if clip is not None:
        near = batch.value + (value - batch.value).clamp(-clip, clip)
        error = error.maximum((near - batch.target).square())
    return 0.5 * (error * batch.mask).sum() / batch.mask.sum().clamp(min=1)


def value_delta(value: Tensor, batch: Batch, clip: float | None) -> Tensor:
    """∂(value_loss)/∂V [B]: (V − target)/n, and 0 where the clipped error is the larger one
    beyond the clip.
    """
    error = value - batch.target
    scale = batch.mask / batch.mask.sum().clamp(min=1)
    if clip is not None:
        moved = value - batch.value
        near = batch.value + moved.clamp(-clip, clip) - batch.target
        scale = scale * ((moved.abs() <= clip) | (error.abs() >= near.abs()))
    return scale * error
