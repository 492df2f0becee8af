"""Trajectories of the frozen policy, and the gradient estimates that every scheme makes of the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import Critic
from pgrun.envs import Envs
from pgrun.policies.mlp import Scores
from pgrun.policies.normalization import NoRewardScale
from pgrun.policies.policy import Policy
from pgrun.returns import episode_return
from pgrun.rollouts.samplers.episodes import Episodes
from pgrun.types import Rollout, each_tensor
from pgrun.variance.base import PerColumn, Scheme
from pgrun.variance.leave_out import rows_by_unit

if TYPE_CHECKING:
    from torch import Tensor


ROWS = 120_000  # of a rollout in memory, padding included


@dataclass
class Source:
    """A source of episodes: environments with random streams of their own, which go
    on from one call to the next.
    """

    policy: Policy
    envs: Envs
    noise: torch.Generator
    seeds: list[int] | None  # of the first reset
    group: int = 1  # episodes from each start
    shared: Literal["seed", "start"] = "seed"  # what they share
    episodes: int = 0  # played so far
    longest: int = field(default=0)

    def rollouts(self, groups: int, batch: int) -> Iterator[Rollout]:
        """``groups`` times ``batch`` whole episodes, in rollouts of whole groups that fit into memory."""
        while groups > 0:
            fitting = ROWS // (max(self.longest, 1) * batch) if self.longest else 256 // batch
            now = min(groups, max(fitting, 1))
            yield self.play(now * batch)
            groups -= now

    def play(self, episodes: int) -> Rollout:
        sampler = Episodes(episodes, group=self.group, shared=self.shared)
        rollout, _ = sampler.collect(self.policy, self.envs, self.noise, NoRewardScale(), self.seeds)
        self.seeds = None
        self.episodes += episodes
        self.longest = max(self.longest, len(rollout.mask))
        return rollout


@dataclass
class Tally:
    """What the episodes themselves were like."""

    returns: list[Tensor] = field(default_factory=list)  # undiscounted
    discounted: list[Tensor] = field(default_factory=list)
    steps: int = 0
    truncated: int = 0

    def add(self, rollout: Rollout, gamma: float) -> None:
        for kept, discount in ((self.returns, 1.0), (self.discounted, gamma)):
            kept.append(
                episode_return(rollout.raw_reward, rollout.mask, rollout.time, discount).double().cpu()
            )
        self.steps += int(rollout.mask.sum())
        self.truncated += int((rollout.mask * rollout.ended * (1 - rollout.terminated)).sum())


@dataclass
class Seen:
    """A rollout with what several schemes look at, each computed once."""

    policy: Policy
    rollout: Rollout
    critic: Critic

    @cached_property
    def scores(self) -> Scores:
        columns = self.rollout.mask.shape[1]
        return self.policy.scores(
            rows_by_unit(self.rollout.obs[:-1], columns), rows_by_unit(self.rollout.action, columns)
        )

    @cached_property
    def value(self) -> Tensor:
        return self.critic.values(self.rollout)

    @cached_property
    def with_q(self) -> Rollout:
        return replace(self.rollout, q=self.critic.action_values(self.rollout))

    @cached_property
    def with_every_q(self) -> Rollout:
        return replace(self.with_q, every_q=self.critic.every_action_value(self.rollout))

    def estimates(self, estimator: Estimator, batch: int) -> Tensor:
        """ĝ of each group of ``batch`` columns [G, P]: (1/batch) Σ mask·Ψ·∇log π, as an update takes it."""
        columns, rollout = self.rollout.mask.shape[1], self.rollout
        psi, correction = self.weights(estimator, batch)
        sums = self.scores.sums(rows_by_unit(rollout.mask * psi, columns), columns // batch) / batch
        return sums if correction is None else sums + correction

    def psi(self, estimator: Estimator, batch: int) -> Tensor:
        """Ψ [T, N]"""
        return self.weights(estimator, batch)[0]

    def weights(self, estimator: Estimator, batch: int) -> tuple[Tensor, Tensor | None]:
        """(Ψ [T, N], corrections [G, P] or None)"""
        scheme = estimator.scheme
        return weigh_groups(self.policy, self.rollout_for(scheme), self.value_for(scheme), estimator, batch)

    def rollout_for(self, scheme: Scheme) -> Rollout:
        """With Q, where a scheme reads it."""
        if scheme.uses_every_q:
            return self.with_every_q
        return self.with_q if scheme.uses_q else self.rollout

    def value_for(self, scheme: Scheme) -> Tensor:
        """V [T+1, N], where a scheme reads it."""
        reads = scheme.uses_critic and scheme.uses_value
        return self.value if reads else self.rollout.obs.new_zeros(self.rollout.obs.shape[:-1])


def weigh_groups(
    policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator, batch: int
) -> tuple[Tensor, Tensor | None]:
    """(Ψ [T, N], corrections [G, P] or None): a scheme that may compare episodes sees
    those of one group at a time.
    """
    scheme = estimator.scheme
    alone = isinstance(scheme, PerColumn) and not scheme.corrects_gradient
    if alone and estimator.advantage_norm == "none":
        return estimator.psi(rollout, value, policy)
    parts = weigh_groups_together(policy, rollout, value, estimator, batch)
    return parts[0].transpose(0, 1).flatten(1), parts[1] if len(parts) > 1 else None


def weigh_groups_together(
    policy: Policy, rollout: Rollout, value: Tensor, estimator: Estimator, batch: int
) -> tuple[Tensor, ...]:
    """Ψ [G, T, B], and corrections [G, P] where there are some: all groups in one
    program, since Ψ is pure.
    """
    grouped = each_tensor(rollout, lambda x: torch.unflatten(x, 1, (-1, batch)))

    def one(fields: dict[str, Any], value: Tensor) -> tuple[Tensor, ...]:
        psi, correction = estimator.psi(replace(rollout, **fields, count=float(batch)), value, policy)
        return (psi,) if correction is None else (psi, correction)

    return torch.vmap(one, in_dims=1)(grouped, torch.unflatten(value, 1, (-1, batch)))
