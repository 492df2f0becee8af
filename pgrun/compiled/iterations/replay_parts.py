"""What updates on replayed transitions hand to their kernels: the ring, the draws, and room for the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_ac import OffPolicyAc
from pgrun.compiled.critics import CompiledActionCritic
from pgrun.compiled.distributions import CompiledCategorical, CompiledGaussian
from pgrun.compiled.iterations.base import BY_PROGRESS, Iterations
from pgrun.kernels.arrays import NO_NUMBERS, NO_VECTOR
from pgrun.kernels.minibatch import COLUMNS, PSI, TARGET
from pgrun.policies.normalization import NoRewardScale, RewardScale, RunningNorm
from pgrun.rollouts.samplers.replay import Replay
from pgrun.types import Batch, Rollout
from pgrun.variance.advantage import Advantage
from pgrun.variance.base import Scheme
from pgrun.variance.q import Q

Chances = tuple[np.ndarray, ...]  # of iterations: the kernel's ``chances``
NO_CHOICES = np.zeros(0, np.int64)


def weighs_with_q(scheme: Scheme) -> bool:
    """Whether Ψ is Q(s, a), or that less V(s), and nothing else."""
    return type(scheme) in (Q, Advantage) and scheme.discounting == "reward_to_go"  # type: ignore[attr-defined]


def learns_from_replay(learner: Learner, algorithm: Algorithm, estimator: Estimator, sampler: Any) -> bool:
    """Whether an update of such a run is the one of ``learn_from_memory``."""
    critic = learner.critic
    return (
        type(sampler) is Replay
        and estimator.advantage_norm == learner.minibatch_norm == "none"
        and type(algorithm) is OffPolicyAc
        and (algorithm.corrections, algorithm.baseline == "expectation") == ("all", False)
        and all(schedule.kind == "constant" for schedule in algorithm.schedules.values())
        and weighs_with_q(estimator.scheme)
        and type(learner.policy.dist) in (CompiledCategorical, CompiledGaussian)
        and type(critic) is CompiledActionCritic
        and critic.settings.fit == "after"
        and critic.optimizer.settings.schedule in BY_PROGRESS
    )


class ReplayParts:
    """Of one run's iterations: the arguments of ``learn_from_memory`` that are not the actor's."""

    def __init__(self, iterations: Iterations, estimator: Estimator, scale: RewardScale | NoRewardScale):
        self.iterations, self.scale = iterations, scale
        self.sampler: Replay = iterations.sampler  # type: ignore[assignment]
        self.policy, self.critic = iterations.learner.policy, iterations.critic
        self.gamma, self.subtracts = estimator.gamma, isinstance(estimator.scheme, Advantage)
        self.discrete = isinstance(self.policy.dist, CompiledCategorical)
        self.samples = self.critic.settings.samples if self.subtracts and not self.discrete else 0
        self.limits = self.find_limits()
        self.make_room()
        self.drawn: np.ndarray = np.zeros(self.sampler.batch)  # u of the last draw

    def find_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """What Q sees of an action at least and at most [A]."""
        size = 0 if self.discrete else self.policy.dist.linear
        ends = [limit.numpy() for limit in self.critic.limits] or [
            np.full(size, -np.inf),
            np.full(size, np.inf),
        ]
        low, high = (np.ascontiguousarray(end, np.float32) for end in ends)
        return low, high

    def make_room(self) -> None:
        """For the rows of a draw, and for what the networks make of them."""
        rows, net, steps = self.sampler.batch, self.critic.steps.net, self.iterations.steps
        obs, actions, dist = self.policy.net.inputs, self.policy.dist.encoded, self.policy.dist
        self.table = np.zeros((len(COLUMNS), rows), np.float32)  # of what the critic is fitted to
        steps.data = (
            np.zeros((rows, obs), np.float32),
            np.zeros((rows, 1 if self.discrete else 0), np.int64),
            np.zeros((rows, 0 if self.discrete else dist.linear), np.float32),
            np.zeros((len(COLUMNS), rows), np.float32),
            np.zeros((rows, dist.size), np.float32),
        )
        pairs = rows * (dist.size if self.discrete else self.samples + 1)
        outputs = max(steps.layers_outputs, net.outputs)
        self.buffers = (
            np.zeros((rows, obs + actions), np.float32),
            self.table,
            np.zeros(max(pairs, self.iterations.rows) * outputs, np.float32),
            np.zeros(rows * net.inputs, np.float32),
            np.zeros(rows * net.outputs, np.float32),
            np.zeros(rows * net.outputs, np.float32),
            self.critic.steps.gradient,
            np.zeros((rows, obs), np.float32),
            np.zeros((pairs, obs + actions), np.float32),
        )

    @property
    def holds_warmup(self) -> bool:
        """Whether the ring does: the general way draws other numbers before."""
        return self.sampler.seen >= max(self.sampler.warmup, 1)

    def draw_chances(self) -> Chances:
        """What one update draws, in the order of the general way."""
        rows, draw = (self.sampler.batch,), self.iterations.draw_action_noise
        share: np.ndarray = self.sampler.draw_shares(self.iterations.noise).numpy()
        return share, draw(rows), draw((self.samples, *rows)), draw(rows)

    def pack_memory(self) -> tuple[np.ndarray, ...]:
        """The kernel's ``memory``."""
        ring = {name: x.numpy() for name, x in self.sampler.memory.items()}
        action, following, empty = ring["action"], ring["next_action"], NO_VECTOR
        choice, vector = (action, empty) if self.discrete else (NO_CHOICES, action)
        following = following if self.discrete else NO_CHOICES
        states = ring["obs"], ring["next_obs"]
        numbers = ring["reward"], ring["terminated"], ring["time"]
        return *states, choice, vector, ring["params"], following, *numbers

    def pack_weighing(self) -> tuple[Any, ...]:
        """The kernel's ``weighing``."""
        norm = self.policy.normaliser
        moved = (True, norm.mean.numpy(), norm.scale.numpy()) if isinstance(norm, RunningNorm) else None
        states = moved or (False, NO_NUMBERS.astype(np.float64), NO_NUMBERS.astype(np.float64))
        own = self.gamma, self.subtracts, self.critic.settings.rate
        return *own, *self.limits, *states, float(self.scale.scale)

    def pack_critic(self) -> tuple[Any, ...]:
        """The kernel's ``critic``."""
        steps = self.critic.steps
        slow = steps.net.pack_net(self.critic.follower.numpy())
        return steps.flat, steps.optimizer.pack_rule(), slow, *self.buffers

    def last_batch(self) -> tuple[Rollout, Batch]:
        """The rows of the last draw, and the batch that was made of them."""
        rollout = self.sampler.take_rows(torch.from_numpy(self.drawn), self.policy, self.scale)
        mine, own = torch.from_numpy(self.iterations.steps.data[3]), torch.from_numpy(self.table)
        rows = rollout.flattened_rows()
        fitted = Batch(**rows, psi=own[PSI], value=own[PSI], target=own[TARGET])
        return rollout, Batch(
            **rows, psi=mine[PSI], value=torch.zeros_like(mine[PSI]), target=own[TARGET], critic_rows=fitted
        )
