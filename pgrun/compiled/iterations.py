"""Whole iterations of a run in one call, where all parts of it are compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner, Repeated
from pgrun.compiled.critics import CompiledCritic
from pgrun.compiled.learner import MinibatchSteps, is_covered
from pgrun.compiled.tracing import NotByRow, TracedWeight, trace_gradient_weight
from pgrun.critics.fitted import Fitted
from pgrun.estimator import Estimator
from pgrun.kernels import iterations as kernels
from pgrun.kernels.arrays import NO_CHOICE, NO_NUMBERS, NO_VECTOR
from pgrun.kernels.minibatch import COLUMNS, PSI, TARGET, VALUE
from pgrun.kernels.row_programs import BLOCK
from pgrun.optimization.schedules import OVER_THE_RUN
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.rollouts.compiled_player import Player, Records, player_of
from pgrun.rollouts.samplers.steps import Steps
from pgrun.rollouts.trajectory import Finished
from pgrun.types import Batch, Rollout
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.td0 import Td0

if TYPE_CHECKING:
    from pgrun.envs import Envs

UPDATE_METHODS = ("update", "prepare_rollout", "set_progress", "effective_scheme")  # that must be the usual
BY_PROGRESS = ("constant", *OVER_THE_RUN)  # schedules of the learning rate that hang on env_steps alone


def find_weight_lambda(scheme: Scheme) -> float | None:
    """The λ of a scheme whose Ψ is the λ-return less V(s); None of any other."""
    if type(scheme) not in (Td0, Gae) or scheme.discounting != "reward_to_go":  # type: ignore[attr-defined]
        return None
    if isinstance(scheme, Gae):
        return None if scheme.normalised else scheme.lam
    return 0.0


def find_target_lambda(settings: Fitted) -> float | None:
    """The λ of the return that the critic is fitted to; None of an n-step return."""
    return {"td0": 0.0, "mc": 1.0, "td_lambda": settings.lam}.get(settings.target)


def takes_one_usual_step(algorithm: Algorithm) -> bool:
    """Whether an update is one step on the whole batch and nothing of the algorithm's own beside it."""
    kind = type(algorithm)
    base: type[Algorithm] = Repeated if isinstance(algorithm, Repeated) else Algorithm
    return (
        all(getattr(kind, name) is getattr(Algorithm, name) for name in UPDATE_METHODS)
        and kind.improve is base.improve
        and getattr(kind, "stops", None) is getattr(base, "stops", None)
        and (getattr(algorithm, "epochs", 1), getattr(algorithm, "minibatches", 1)) == (1, 1)
        and all(schedule.kind == "constant" for schedule in algorithm.schedules.values())
    )


def is_fitted_in_one_step(critic: CompiledCritic) -> bool:
    """Whether the fit is one step on the whole batch, after the policy's, to a λ-return."""
    fit = critic.settings
    return (
        type(critic) is CompiledCritic
        and (fit.epochs, fit.minibatches, fit.fit) == (1, 1, "after")
        and find_target_lambda(fit) is not None
        and critic.optimizer.settings.schedule in BY_PROGRESS
    )


def compile_iterations(
    learner: Learner,
    algorithm: Algorithm,
    estimator: Estimator,
    sampler: Any,
    envs: Envs,
    noise: torch.Generator,
    scale: Any,
) -> Iterations | None:
    """What does whole iterations of such a run; None where some part of it needs the general way."""
    policy, critic = learner.policy, learner.critic
    whole = (
        type(sampler) is Steps
        and envs.is_program
        and type(scale) is NoRewardScale
        and type(policy.normaliser) is NoStateNorm
        and estimator.advantage_norm == learner.minibatch_norm == "none"
        and find_weight_lambda(estimator.scheme) is not None
        and is_covered(learner, algorithm)
        and takes_one_usual_step(algorithm)
        and learner.optimizer.settings.schedule in BY_PROGRESS
    )
    if not (whole and isinstance(critic, CompiledCritic) and is_fitted_in_one_step(critic)):
        return None
    try:
        traced = trace_gradient_weight(algorithm, {})
    except NotByRow:
        return None
    player = player_of(policy, envs)  # type: ignore[arg-type]
    if player is None or traced.columns[len(COLUMNS) :]:
        return None
    return Iterations(learner, algorithm, estimator, sampler, player, traced, noise)


class Played(NamedTuple):
    """What was done by whole iterations."""

    env_steps: int
    updates: int
    finished: Finished
    finite: bool  # False: the last update found or made numbers that are not


class Iterations:
    """Rollouts and updates that need nothing but kernels. Those that are to be measured or logged are done
    in two parts, ``collect`` and ``learn``, by the same machine code.
    """

    def __init__(
        self,
        learner: Learner,
        algorithm: Algorithm,
        estimator: Estimator,
        sampler: Steps,
        player: Player,
        traced: TracedWeight,
        noise: torch.Generator,
    ):
        critic = learner.critic
        assert isinstance(critic, CompiledCritic)
        self.learner, self.algorithm, self.critic, self.sampler = learner, algorithm, critic, sampler
        self.player, self.noise, self.traced = player, noise, traced
        envs = player.envs
        shape = sampler.steps, envs.num_envs
        rows = shape[0] * shape[1]
        self.rows, self.shape, self.records = rows, shape, Records(player, shape[0])
        table = np.zeros((len(COLUMNS), rows), np.float32)
        lam, target_lam = find_weight_lambda(estimator.scheme), find_target_lambda(critic.settings)
        self.weighing = (
            np.array([estimator.gamma], np.float32),
            np.full(shape[0], lam, np.float32),
            np.full(shape[0], target_lam, np.float32),
            np.zeros((shape[0] + 1, shape[1]), np.float32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
        )
        records = self.records
        choice = records.choice.reshape(rows, 1) if envs.discrete else NO_CHOICE.reshape(rows, 0)
        vector = NO_VECTOR.reshape(rows, 0) if envs.discrete else records.force.reshape(rows, 1)
        obs = records.obs[:-1].reshape(rows, -1)
        self.steps = MinibatchSteps(learner, algorithm)
        self.steps.data = obs, choice, vector, table, records.params.reshape(rows, -1)
        self.scalars = np.zeros(len(traced.scalars), np.float32)
        self.registers = np.zeros((traced.registers, BLOCK), np.float32)
        self.collected: Rollout | None = None
        self.seconds = [0.0, 0.0]  # of first and second parts
        self.order, self.edges = np.arange(rows), np.array([0, rows])
        net = critic.steps.net
        self.critic_buffers = (
            np.zeros((rows + shape[1]) * net.outputs, np.float32),
            np.zeros(rows * net.inputs, np.float32),
            np.zeros(rows * net.outputs, np.float32),
            np.zeros(rows * net.outputs, np.float32),
            critic.steps.gradient,
        )

    def run_many(self, count: int, progress: Callable[[np.ndarray], np.ndarray]) -> Played:
        """Do ``count`` iterations. Raises ``EnvironmentFault``.

        ``progress``: the shares of the run that are done, so many environment steps from now.
        """
        noise = [self.draw_noise() for _ in range(count)]
        shares = progress(np.arange(count * self.rows))
        optimizers = self.learner.optimizer, self.critic.optimizer
        policy_rates, critic_rates = (one.schedule.list_values(shares) for one in optimizers)
        counts, finished = self.call(kernels.WHOLE, np.stack(noise), (policy_rates, critic_rates))
        self.refuse_bad_data(counts)
        steps, updates, outcome = (int(counts[i]) for i in (kernels.STEPS, kernels.UPDATES, kernels.OUTCOME))
        return Played(steps, updates + (outcome == kernels.BAD_WEIGHT), finished, outcome == kernels.FINE)

    def collect(self) -> tuple[Rollout, Finished]:
        """The first part of an iteration: (its rollout, episodes that ended). Raises ``EnvironmentFault``."""
        begun = time.perf_counter()
        counts, finished = self.call(kernels.COLLECT, self.draw_noise()[None], self.present_rates())
        self.seconds[0] += time.perf_counter() - begun
        self.refuse_bad_data(counts)
        self.collected = self.last_rollout()
        return self.collected, finished

    def has_collected(self, rollout: Rollout) -> bool:
        """Whether this is what ``collect`` gave last, so that ``learn`` is a step on it."""
        return rollout is self.collected

    def learn(self) -> None:
        """The second part of it."""
        begun = time.perf_counter()
        self.call(kernels.LEARN, np.zeros((1, 1, 1, 1), np.float32), self.present_rates())
        self.seconds[1] += time.perf_counter() - begun

    @property
    def learning_share(self) -> float:
        """Of the time of whole iterations, as measured on those that were done in two parts."""
        return self.seconds[1] / sum(self.seconds) if sum(self.seconds) else 0.5

    def refuse_bad_data(self, counts: np.ndarray) -> None:
        """Raise ``EnvironmentFault`` where the last rollout holds a number that is not finite."""
        if counts[kernels.OUTCOME] == kernels.BAD_DATA:
            raise self.player.find_fault(self.records)

    def last_rollout(self) -> Rollout:
        """In arrays that the next one overwrites."""
        return self.records.rollout(NoRewardScale(), self.rows)

    def last_batch(self) -> tuple[Rollout, Batch]:
        """The last rollout, and the batch with which the step was made, or would have been."""
        rollout, table = self.last_rollout(), torch.from_numpy(self.steps.data[3])
        psi, value, target = table[PSI], table[VALUE], table[TARGET]
        rows = rollout.flattened_rows()
        return rollout, Batch(**rows, psi=psi, value=value, target=target, shape=self.shape)

    def draw_noise(self) -> np.ndarray:
        """Of one rollout, as the sampler draws it."""
        policy = self.learner.policy
        noise: np.ndarray = policy.dist.noise(self.shape, self.noise, policy.theta.dtype).numpy()
        return noise

    def present_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """The learning rates of policy and critic as they stand."""
        return np.array([self.learner.optimizer.lr]), np.array([self.critic.optimizer.lr])

    def call(
        self, part: int, noise: np.ndarray, rates: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, Finished]:
        """One call of the kernel: (what was counted [4], the episodes that ended)."""
        envs, ends = self.player.envs, len(noise) * self.rows
        episodes, counts = (np.zeros(ends), np.zeros(ends, np.int64)), np.zeros(4, np.int64)
        kernels.run_iterations(
            *(part, self.pack_player(), noise, self.records.arguments, self.weighing),
            *(self.pack_actor(), self.pack_critic(), rates, episodes, counts),
        )
        envs.obs[:] = envs.rows
        over = counts[kernels.EPISODES]
        return counts, list(zip(episodes[0][:over].tolist(), episodes[1][:over].tolist(), strict=True))

    def pack_player(self) -> tuple[Any, ...]:
        """The kernel's ``player``, of the environment as it stands."""
        player, envs = self.player, self.player.envs
        limits = envs.episodes, player.endless, player.unread, np.inf, False
        return player.acting.arguments, *envs.arguments, (*limits, envs.time, envs.episode_return)

    def pack_actor(self) -> tuple[Any, ...]:
        """The kernel's ``actor``."""
        steps, algorithm = self.steps, self.algorithm
        self.traced.fill_scalars(algorithm, self.scalars)
        objective = (
            float(algorithm.entropy_weight),
            float(algorithm.kl_weight),
            0.0,
            0.0,
        )  # without V
        task = (*objective, float(self.rows), NO_NUMBERS)
        net = steps.net, steps.dist.code, steps.optimizer.pack_rule(), steps.data
        program = self.order, self.edges, self.traced.program, self.scalars, task, self.registers
        return *net, *program, *steps.take_buffers(self.rows)

    def pack_critic(self) -> tuple[Any, ...]:
        """The kernel's ``critic``."""
        steps, clip = self.critic.steps, self.critic.settings.clip
        return steps.flat, steps.optimizer.pack_rule(), float(clip or 0.0), *self.critic_buffers
