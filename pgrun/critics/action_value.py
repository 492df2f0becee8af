"""Critics of actions, Q_φ(s, a), learned from replayed transitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from gymnasium import spaces

from pgrun.config.schema import PositiveInt, Range
from pgrun.critics.base import Context, CriticSettings, OwnNetwork, value_delta, value_loss
from pgrun.envs.spaces import action_limits
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Net
from pgrun.returns import td_target
from pgrun.types import Batch, Rollout

if TYPE_CHECKING:
    from torch import Tensor


Share = Annotated[float, Range(0, 1, open=True)]


@dataclass(frozen=True)
class ActionValue(CriticSettings):
    """A network Q_φ(s, a). ``rate``: the target network follows by φ̄ ← φ̄ + rate·(φ − φ̄) after each fit
    (Lillicrap et al. 2016); 1: none.

    ``samples`` actions stand for the sum in V(s) = Σ_a π(a|s)Q(s, a) where there is no list of them.
    ``fit``: whether the actor's Q is the one before or the one after the step on the same draw.
    """

    rate: Share = 0.02
    samples: PositiveInt = 8  # drawn actions whose mean is V(s), where actions cannot be listed
    fit: Literal["after", "before"] = "after"
    optimizer: dict[str, Any] | None = None
    knows_q: ClassVar[bool] = True
    of_actions: ClassVar[bool] = True

    def build(self, context: Context) -> ActionCritic:
        policy, of = context.policy, context.algorithm.corrections
        actions = policy.dist.encoded if of != "none" else 0
        net, phi = context.network.value_net(
            policy.net.inputs + actions, context.init, device=policy.theta.device
        )
        return ActionCritic(self, net, phi, context, of != "none", of in ("q_next", "all"))


class ActionCritic(OwnNetwork):
    """y = r + γ(1 − d)Q(s', a'), regressed on by Q(s, a).

    ``of_actions`` off, the network sees no action: V(s), y = r + γ(1 − d)V(s'), and y itself stands for
    Q(s, a). ``next_now``: a' from the present policy, not from the one that filled the buffer.
    """

    def __init__(
        self, settings: ActionValue, net: Net, phi: Tensor, context: Context, of_actions: bool, next_now: bool
    ):
        self.settings, self.net, self.phi, self.optimizer = settings, net, phi, context.optimizer(phi)
        self.policy, self.gamma, self.generator = context.policy, context.gamma, context.noise
        space = context.envs.action_space
        ends = action_limits(space) if isinstance(space, spaces.Box) else ()
        self.limits = [torch.from_numpy(end).to(phi) for end in ends]  # beyond them the environment clips
        self.of_actions, self.next_now = of_actions, next_now
        self.fits_first = settings.fit == "before"
        self.follower = phi.clone()
        self.layers, self.free = net.layers(phi)
        self.slow = net.layers(self.follower)

    def inputs(self, obs: Tensor, action: Tensor) -> Tensor:
        """What the network sees [..., D + A]: of an action, what the environment takes of it."""
        if not self.of_actions:
            return obs
        told = self.policy.dist.encode(action).to(obs)
        return torch.cat([obs, told.clamp(*self.limits) if self.limits else told], -1)

    def q(self, obs: Tensor, action: Tensor) -> Tensor:
        """Q_φ(s, a) [...]"""
        return self.net.activations(self.layers, self.free, self.inputs(obs, action))[-1][..., 0]

    def value(self, obs: Tensor) -> Tensor:
        """V(s) = Σ_a π(a|s) Q_φ(s, a) [...]"""
        if not self.of_actions:
            return self.net.activations(self.layers, self.free, obs)[-1][..., 0]
        action, chance = self.choices(obs)
        return (chance * self.q(obs.expand(*action.shape[: obs.dim()], -1), action)).sum(0)

    def choices(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """(actions [K, ..., A], their weights [K, ...]): all with π(a|s), or K draws with 1/K."""
        params, dist = self.policy.params(obs), self.policy.dist
        if isinstance(dist, Categorical):
            every = torch.arange(dist.size, device=obs.device).view(-1, *[1] * (obs.dim() - 1))
            return every.expand(-1, *obs.shape[:-1]), params.softmax(-1).movedim(-1, 0)
        many = params.expand(self.settings.samples, *params.shape)
        action = self.sample(many)
        return action, obs.new_full(action.shape[: many.dim() - 1], 1 / len(many))

    def sample(self, params: Tensor) -> Tensor:
        noise = self.policy.dist.noise(params.shape[:-1], self.generator, params.dtype)
        action: Tensor = self.policy.dist.act(params, noise)
        return action

    def values(self, rollout: Rollout) -> Tensor:
        """V(s) [T+1, N]; nothing bootstraps from the last row, which stays NaN."""
        value = self.value(rollout.obs[:-1])
        return torch.cat([value, torch.full_like(value[:1], torch.nan)])

    def action_values(self, rollout: Rollout) -> Tensor:
        """Q(s, a) [T, N] of the rollout's actions, or the y of its transitions where
        the network sees no action.
        """
        if self.of_actions:
            return self.q(rollout.obs[:-1], rollout.action)
        return td_target(rollout.reward, rollout.terminated, self.value(rollout.obs[1:]), self.gamma)

    def every_action_value(self, rollout: Rollout) -> Tensor:
        raise NotImplementedError

    def rows(self, rollout: Rollout, gamma: float) -> Batch:
        """The transitions with their y, detached from all that moves: φ̄ and the present policy."""
        successor = rollout.obs[1:]
        action = self.sample(self.policy.params(successor)) if self.next_now else rollout.next_action
        assert action is not None
        after = self.net.activations(*self.slow, self.inputs(successor, action))[-1][..., 0]
        return Batch(
            **rollout.flattened_rows(),
            psi=torch.zeros_like(rollout.mask).flatten(),
            value=self.q(rollout.obs[:-1], rollout.action).flatten(),
            target=td_target(rollout.reward, rollout.terminated, after, self.gamma).flatten(),
        )

    def target(self, rollout: Rollout, value: Tensor, gamma: float) -> Tensor:
        return value[:-1]

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        """One step of φ down ½ mean (Q − y)², and of φ̄ towards φ."""
        kept = self.net.activations(self.layers, self.free, self.inputs(batch.obs, batch.action))
        delta = value_delta(kept[-1][:, 0], batch, None)
        self.optimizer.step(self.net.gradient(self.layers, kept, delta[:, None]))
        self.follower.lerp_(self.phi, self.settings.rate)

    def loss(self, batch: Batch) -> Tensor:
        return value_loss(self.q(batch.obs, batch.action), batch, None)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "follower": self.follower}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.follower.copy_(state["follower"])
