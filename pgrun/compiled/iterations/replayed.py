"""Whole iterations of an actor-critic on replayed transitions, of an environment with a choice of actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_ac import OffPolicyAc
from pgrun.compiled.critics import CompiledActionCritic
from pgrun.compiled.distributions import CompiledCategorical
from pgrun.compiled.iterations.base import BY_PROGRESS, KernelIterations
from pgrun.compiled.tracing import TracedWeight
from pgrun.kernels import iterations as kernels
from pgrun.kernels.arrays import NO_VECTOR
from pgrun.kernels.minibatch import COLUMNS, PSI, TARGET
from pgrun.kernels.replayed_iterations import run_replayed_iterations
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.compiled_player import Player
from pgrun.rollouts.samplers.replay import MEMORY, Replay
from pgrun.rollouts.trajectory import Finished
from pgrun.types import Batch, Rollout
from pgrun.variance.advantage import Advantage
from pgrun.variance.base import Scheme
from pgrun.variance.q import Q

Chances = tuple[np.ndarray, ...]  # of iterations: the kernel's ``chances``


def weighs_with_q(scheme: Scheme) -> bool:
    """Whether Ψ is Q(s, a), or that less V(s), and nothing else."""
    return type(scheme) in (Q, Advantage) and scheme.discounting == "reward_to_go"  # type: ignore[attr-defined]


class ReplayedIterations(KernelIterations):
    """Iterations of ``off_policy_ac`` with ``corrections=all``, once the ring holds its warm-up.

    What an iteration draws after its rollout is drawn before the call, and drawn again by the general way
    where that has a part in the update: the generator is put back for it.
    """

    @classmethod
    def covers(cls, learner: Learner, algorithm: Algorithm, estimator: Estimator, sampler: Any) -> bool:
        """Whether an update of such a run is the one of this kernel."""
        critic = learner.critic
        return (
            type(sampler) is Replay
            and estimator.advantage_norm == learner.minibatch_norm == "none"
            and type(algorithm) is OffPolicyAc
            and (algorithm.corrections, algorithm.baseline == "expectation") == ("all", False)
            and all(schedule.kind == "constant" for schedule in algorithm.schedules.values())
            and weighs_with_q(estimator.scheme)
            and type(learner.policy.dist) is CompiledCategorical
            and type(critic) is CompiledActionCritic
            and critic.settings.fit == "after"
            and critic.optimizer.settings.schedule in BY_PROGRESS
        )

    def __init__(
        self,
        learner: Learner,
        algorithm: Algorithm,
        estimator: Estimator,
        sampler: Replay,
        player: Player,
        traced: TracedWeight,
        noise: torch.Generator,
    ):
        super().__init__(learner, algorithm, sampler, player, traced, noise, sampler.batch)
        self.sampler: Replay = sampler
        rows, critic, policy = sampler.batch, self.critic, learner.policy
        self.weighing = estimator.gamma, isinstance(estimator.scheme, Advantage), critic.settings.rate
        obs, options = player.envs.obs_size, policy.dist.size
        self.steps.data = (
            np.zeros((rows, obs), np.float32),
            np.zeros((rows, 1), np.int64),
            NO_VECTOR.reshape(rows, 0),
            np.zeros((len(COLUMNS), rows), np.float32),
            np.zeros((rows, options), np.float32),
        )
        outputs = max(self.steps.layers_outputs, critic.steps.net.outputs)
        self.table = np.zeros((len(COLUMNS), rows), np.float32)  # of what the critic is fitted to
        self.critic_buffers = (
            np.zeros((rows, obs + options), np.float32),
            self.table,
            np.zeros(max(options * rows, self.rows) * outputs, np.float32),
            np.zeros(rows * critic.steps.net.inputs, np.float32),
            np.zeros(rows * critic.steps.net.outputs, np.float32),
            np.zeros(rows * critic.steps.net.outputs, np.float32),
            critic.steps.gradient,
            np.zeros((rows, obs), np.float32),
            np.zeros((options * rows, obs + options), np.float32),
        )
        self.pending: Chances | None = None  # of the iteration whose first part is done
        self.drawn: np.ndarray = np.zeros(rows)  # u of the last draw

    @property
    def most(self) -> int:
        """How many iterations one call may do now: 0 until the warm-up is over, since the general way draws
        other numbers meanwhile.
        """
        return super().most if self.sampler.seen >= max(self.sampler.warmup, 1) else 0

    def draw_chances(self) -> Chances:
        """What one iteration draws after its rollout, in the order of the general way."""
        rows = (self.batch_rows,)
        successors = self.draw_action_noise(self.shape)
        share: np.ndarray = self.sampler.draw_shares(self.noise).numpy()
        return successors, share, self.draw_action_noise(rows), self.draw_action_noise(rows)

    def call_whole(self, count: int, rates: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, Finished]:
        noise, states, chances = [], [], []
        for _ in range(count):
            noise.append(self.draw_noise())
            states.append(self.noise.get_state())
            chances.append(self.draw_chances())
        columns = tuple(np.stack(column) for column in zip(*chances, strict=True))
        counts, finished = self.call(kernels.WHOLE, np.stack(noise), columns, rates)
        done = int(counts[kernels.UPDATES])
        if counts[kernels.OUTCOME] == kernels.FINE and done < count:  # a rollout without a live row
            self.noise.set_state(states[done])
        self.drawn = chances[done if counts[kernels.OUTCOME] == kernels.BAD_WEIGHT else done - 1][1]
        return counts, finished

    def call_collect(self) -> tuple[np.ndarray, Finished]:
        noise = self.draw_noise()
        state = self.noise.get_state()
        self.pending = tuple(x[None] for x in self.draw_chances())
        self.noise.set_state(state)
        return self.call(kernels.COLLECT, noise[None], self.pending, self.present_rates())

    def call_learn(self) -> None:
        assert self.pending is not None
        chances, self.pending = self.pending, None
        self.drawn = chances[1][0]
        self.call(kernels.LEARN, np.zeros((1, 1, 1, 1), np.float32), chances, self.present_rates())

    def has_collected(self, rollout: Rollout) -> bool:
        return self.pending is not None

    def last_batch(self) -> tuple[Rollout, Batch]:
        rollout = self.sampler.take_rows(torch.from_numpy(self.drawn), self.learner.policy, NoRewardScale())
        mine, own = torch.from_numpy(self.steps.data[3]), torch.from_numpy(self.table)
        rows = rollout.flattened_rows()
        fitted = Batch(**rows, psi=own[PSI], value=own[PSI], target=own[TARGET])
        return rollout, Batch(
            **rows, psi=mine[PSI], value=torch.zeros_like(mine[PSI]), target=own[TARGET], critic_rows=fitted
        )

    def call(
        self, part: int, noise: np.ndarray, chances: Chances, rates: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, Finished]:
        """One call of the kernel: (what was counted [4], the episodes that ended)."""
        sampler = self.sampler
        if not sampler.memory:
            rollout = self.last_rollout()
            sampler.make_room(sampler.columns_of(rollout) | {"next_action": rollout.action})
        memory = tuple(sampler.memory[name].numpy() for name in MEMORY)
        kept = np.array([sampler.seen])
        own = part, self.pack_player(), noise, chances, self.records.arguments, memory, kept, self.weighing
        parts = *own, self.pack_actor(), self.pack_critic(), rates
        counted = self.count_calls(len(noise), lambda *given: run_replayed_iterations(*parts, *given))
        sampler.seen = int(kept[0])
        return counted

    def pack_critic(self) -> tuple[Any, ...]:
        """The kernel's ``critic``."""
        steps, critic = self.critic.steps, self.critic
        slow = steps.net.pack_net(critic.follower.numpy())
        return steps.flat, steps.optimizer.pack_rule(), slow, *self.critic_buffers
