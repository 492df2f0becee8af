"""What all whole iterations share: one call does many updates, or one of the two parts of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.compiled.learner import NORMS, MinibatchSteps, count_passes
from pgrun.compiled.tracing import TracedWeight
from pgrun.kernels import iterations as kernels
from pgrun.kernels.arrays import NO_NUMBERS
from pgrun.kernels.row_programs import BLOCK
from pgrun.optimization.minibatches import find_edges
from pgrun.optimization.schedules import OVER_THE_RUN
from pgrun.policies.normalization import NoRewardScale
from pgrun.rollouts.compiled_player import Player, Records
from pgrun.rollouts.samplers.steps import Steps
from pgrun.rollouts.trajectory import Finished
from pgrun.terminal.training_time import TRAINING_TIME
from pgrun.types import Batch, Rollout

BY_PROGRESS = ("constant", *OVER_THE_RUN)  # schedules that hang on env_steps alone
MOST = 256  # iterations in a call: for so long a signal waits


class Played(NamedTuple):
    """What was done by whole iterations."""

    env_steps: int
    updates: int
    finished: Finished
    finite: bool  # False: the last update found or made numbers that are not


class Iterations:
    """Rollouts and updates of a run whose update is one kernel call, many of them or one in two parts."""

    critic: Any  # a compiled twin, with ``steps`` of its own

    def __init__(
        self,
        learner: Learner,
        algorithm: Algorithm,
        sampler: Steps,
        columns: int,
        traced: TracedWeight,
        noise: torch.Generator,
        batch_rows: int,
    ):
        """``batch_rows``: of the batch that an update learns from."""
        self.learner, self.algorithm, self.critic, self.sampler = learner, algorithm, learner.critic, sampler
        self.noise, self.traced, self.batch_rows = noise, traced, batch_rows
        self.shape = sampler.steps, columns
        self.rows = self.shape[0] * self.shape[1]
        self.steps = MinibatchSteps(learner, algorithm)
        self.scalars = np.zeros(len(traced.scalars), np.float32)
        self.registers = np.zeros((traced.registers, BLOCK), np.float32)
        self.seconds = [0.0, 0.0]  # of first and second parts
        self.edges = find_edges(batch_rows, *count_passes(algorithm))

    @property
    def most(self) -> int:
        """How many iterations one call may do now: 0 where the next one has to go the general way."""
        return 1 if any(x.kind != "constant" for x in self.algorithm.schedules.values()) else MOST

    def run_many(self, count: int, progress: Callable[[np.ndarray], np.ndarray]) -> Played:
        """Do up to ``count`` iterations, one at least. Raises ``EnvironmentFault``.

        ``progress``: the shares of the run that are done, so many environment steps from now.
        """
        raise NotImplementedError

    def collect(self) -> tuple[Rollout, Finished]:
        """The first part of an iteration: (its rollout, episodes that ended). Raises ``EnvironmentFault``."""
        raise NotImplementedError

    def learn(self) -> None:
        """The second part of it."""
        raise NotImplementedError

    def has_collected(self, rollout: Rollout) -> bool:
        """Whether ``learn`` is a step on this rollout, made of what ``collect`` gave last."""
        raise NotImplementedError

    def find_weighed_batch(self, rollout: Rollout) -> tuple[Rollout, torch.Tensor, Batch] | None:
        """(the rollout, V [T+1, N], the batch for ``learn``), where ``collect`` has made them with it; they
        last until the next rollout.
        """
        return None

    def last_batch(self) -> tuple[Rollout, Batch]:
        """The last rollout that was learned from, and the batch with which the step was made, or would have
        been.
        """
        raise NotImplementedError

    @property
    def learning_share(self) -> float:
        """The share of an iteration's time that is learning, as measured on those done in two parts."""
        return self.seconds[1] / sum(self.seconds) if sum(self.seconds) else 0.5

    def draw_noise(self) -> np.ndarray:
        """Draw the noise of one rollout's actions, as the sampler does."""
        return self.draw_action_noise(self.shape)

    def draw_action_noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """What actions of the policy are drawn with, one of each in an array of this shape."""
        policy = self.learner.policy
        noise: np.ndarray = policy.dist.noise(shape, self.noise, policy.theta.dtype).numpy()
        return noise

    def list_rates(
        self, count: int, progress: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The learning rates of policy and critic in so many iterations, by the steps from now."""
        shares = progress(np.arange(count * self.rows))
        policy, critic = (
            one.schedule.list_values(shares) for one in (self.learner.optimizer, self.critic.optimizer)
        )
        return policy, critic

    def present_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """The learning rates of policy and critic as they stand."""
        return np.array([self.learner.optimizer.lr]), np.array([self.critic.optimizer.lr])

    def pack_actor(self) -> tuple[Any, ...]:
        """The kernels' ``actor``."""
        steps, algorithm = self.steps, self.algorithm
        self.traced.fill_scalars(algorithm, self.scalars)
        own = float(algorithm.entropy_weight), float(algorithm.kl_weight)
        task = (*own, 0.0, 0.0, float(self.batch_rows), NO_NUMBERS)  # V is not among the outputs
        net = steps.net, steps.dist.code, steps.optimizer.pack_rule(), steps.data
        norm = NORMS[self.learner.minibatch_norm]
        program = self.edges, self.traced.program, self.scalars, norm, task, self.registers
        return *net, *program, *steps.take_buffers(self.batch_rows)


class KernelIterations(Iterations):
    """Rollouts and updates that need nothing but kernels. Those that are to be measured or logged are done
    in two parts, ``collect`` and ``learn``, by the same machine code.
    """

    def __init__(
        self,
        learner: Learner,
        algorithm: Algorithm,
        sampler: Steps,
        player: Player,
        traced: TracedWeight,
        noise: torch.Generator,
        batch_rows: int,
    ):
        super().__init__(learner, algorithm, sampler, player.envs.num_envs, traced, noise, batch_rows)
        self.player, self.records = player, Records(player, sampler.steps)

    def run_many(self, count: int, progress: Callable[[np.ndarray], np.ndarray]) -> Played:
        counts, finished = self.call_whole(count, self.list_rates(count, progress))
        self.refuse_bad_data(counts)
        steps, updates, outcome = (int(counts[i]) for i in (kernels.STEPS, kernels.UPDATES, kernels.OUTCOME))
        return Played(steps, updates + (outcome == kernels.BAD_WEIGHT), finished, outcome == kernels.FINE)

    def collect(self) -> tuple[Rollout, Finished]:
        begun = TRAINING_TIME.now()
        counts, finished = self.call_collect()
        self.seconds[0] += TRAINING_TIME.now() - begun
        self.refuse_bad_data(counts)
        return self.last_rollout(), finished

    def learn(self) -> None:
        begun = TRAINING_TIME.now()
        self.call_learn()
        self.seconds[1] += TRAINING_TIME.now() - begun

    def call_whole(self, count: int, rates: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, Finished]:
        """Up to ``count`` iterations by one call: (what was counted [4], the episodes that ended)."""
        raise NotImplementedError

    def call_collect(self) -> tuple[np.ndarray, Finished]:
        """The first part by one call."""
        raise NotImplementedError

    def call_learn(self) -> None:
        """The second part by one call."""
        raise NotImplementedError

    def refuse_bad_data(self, counts: np.ndarray) -> None:
        """Raise ``EnvironmentFault`` where the last rollout holds a number that is not finite."""
        if counts[kernels.OUTCOME] == kernels.BAD_DATA:
            raise self.player.find_fault(self.records)

    def last_rollout(self) -> Rollout:
        """The last rollout, in arrays that the next one overwrites."""
        return self.records.rollout(NoRewardScale(), self.rows)

    def pack_player(self) -> tuple[Any, ...]:
        """The kernels' ``player``, of the environment as it stands."""
        player, envs = self.player, self.player.envs
        limits = envs.episodes, player.endless, player.unread, np.inf, False
        return player.acting.arguments, *envs.arguments, (*limits, envs.time, envs.episode_return), True

    def count_calls(self, count: int, call: Callable[..., None], *given: int) -> tuple[np.ndarray, Finished]:
        """Call a kernel with what is ``given``, room for the episodes that may end in ``count`` rollouts, and
        for what it counts: (the counts [4], the episodes that ended).
        """
        ends, envs = count * self.rows, self.player.envs
        episodes, counts = (np.zeros(ends), np.zeros(ends, np.int64)), np.zeros(4, np.int64)
        call(*given, episodes, counts)
        envs.obs[:] = envs.rows
        over = counts[kernels.EPISODES]
        return counts, list(zip(episodes[0][:over].tolist(), episodes[1][:over].tolist(), strict=True))
