"""Whole iterations of batch actor-critic: a λ-return for Ψ, then the steps of policy and critic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.ppo import Ppo
from pgrun.compiled.critics import CompiledCritic
from pgrun.compiled.iterations.base import BY_PROGRESS, KernelIterations
from pgrun.compiled.learner import NORMS, count_passes, is_worth_a_thread, takes_passes_alone
from pgrun.compiled.tracing import TracedWeight
from pgrun.critics.fitted import Fitted
from pgrun.kernels import iterations as kernels
from pgrun.kernels.arrays import NO_CHOICE, NO_VECTOR
from pgrun.kernels.minibatch import COLUMNS, RAW_PSI, TARGET, VALUE
from pgrun.optimization.minibatches import find_edges, split_at_random
from pgrun.rollouts.compiled_player import Player
from pgrun.rollouts.samplers.steps import Steps
from pgrun.rollouts.trajectory import Finished
from pgrun.terminal.cores import run_side_by_side
from pgrun.types import Batch, Rollout
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.td0 import Td0

OTHER_METHODS = ("set_progress", "effective_scheme")  # that must be the usual
ROW_PASSES = 1 << 20  # of one call, where its iterations are long: for so long a signal waits


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


def takes_usual_steps(algorithm: Algorithm) -> bool:
    """Whether an update is steps on minibatches of the batch, all of them, and nothing of the algorithm's own
    beside it. It must not keep episodes whole: then Ppo's ``prepare_rollout`` changes nothing.
    """
    kind = type(algorithm)
    return (
        takes_passes_alone(algorithm)
        and all(getattr(kind, name) is getattr(Algorithm, name) for name in OTHER_METHODS)
        and kind.prepare_rollout in (Algorithm.prepare_rollout, Ppo.prepare_rollout)
        and all(schedule.kind in BY_PROGRESS for schedule in algorithm.schedules.values())
    )


def is_fitted_afterwards(critic: CompiledCritic) -> bool:
    """Whether the fit is steps after the policy's, to a λ-return."""
    fit = critic.settings
    return (
        type(critic) is CompiledCritic
        and fit.fit == "after"
        and find_target_lambda(fit) is not None
        and critic.optimizer.settings.schedule in BY_PROGRESS
    )


def draws_minibatches(algorithm: Algorithm, critic: CompiledCritic) -> bool:
    """Whether rows are drawn at random. Where a rollout is one row of each column, and none of them a step,
    the general way draws nothing.
    """
    return max(count_passes(algorithm)[0], critic.settings.minibatches) > 1


class OnPolicyIterations(KernelIterations):
    """Iterations of an algorithm that takes the usual steps on each rollout of ``sampler=steps``."""

    @classmethod
    def covers(cls, learner: Learner, algorithm: Algorithm, estimator: Estimator, sampler: Any) -> bool:
        """Whether an update of such a run is the one of these kernels."""
        return (
            type(sampler) is Steps
            and find_weight_lambda(estimator.scheme) is not None
            and takes_usual_steps(algorithm)
            and isinstance(learner.critic, CompiledCritic)
            and is_fitted_afterwards(learner.critic)
            and (sampler.steps > 1 or not draws_minibatches(algorithm, learner.critic))
        )

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
        rows, shape = sampler.steps * player.envs.num_envs, (sampler.steps, player.envs.num_envs)
        super().__init__(learner, algorithm, sampler, player, traced, noise, rows)
        table = np.zeros((len(COLUMNS), rows), np.float32)
        lam, target_lam = find_weight_lambda(estimator.scheme), find_target_lambda(self.critic.settings)
        self.weighing = (
            np.array([estimator.gamma], np.float32),
            np.full(shape[0], lam, np.float32),
            np.full(shape[0], target_lam, np.float32),
            np.zeros((shape[0] + 1, shape[1]), np.float32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
            NORMS[estimator.advantage_norm],
        )
        records, envs = self.records, player.envs
        choice = records.choice.reshape(rows, 1) if envs.discrete else NO_CHOICE.reshape(rows, 0)
        vector = NO_VECTOR.reshape(rows, 0) if envs.discrete else records.force.reshape(rows, 1)
        obs = records.obs[:-1].reshape(rows, -1)
        self.steps.data = obs, choice, vector, table, records.params.reshape(rows, -1)
        self.collected: Rollout | None = None
        fit, net = self.critic.settings, self.critic.steps.net
        self.splits = (rows, *count_passes(algorithm)), (rows, fit.minibatches, fit.epochs)
        self.critic_edges = find_edges(*self.splits[1])
        self.no_orders = np.zeros((1, 0), np.int64), np.zeros((1, 0), np.int64)
        self.passes = [rows * epochs for rows, _, epochs in self.splits]  # of policy and critic
        self.is_split = is_worth_a_thread(min(self.passes))
        self.critic_buffers = (
            np.zeros((rows + shape[1]) * net.outputs, np.float32),
            np.zeros(rows * net.inputs, np.float32),
            np.zeros(rows * net.outputs, np.float32),
            np.zeros(rows * net.outputs, np.float32),
            self.critic.steps.gradient,
        )

    @property
    def most(self) -> int:
        return max(1, min(super().most, ROW_PASSES // sum(self.passes)))

    def call_whole(self, count: int, rates: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, Finished]:
        if self.is_split:
            return self.call_in_parts(count, rates)
        noise = np.stack([self.draw_noise() for _ in range(count)])
        return self.count_calls(count, self.plan_call(noise, self.draw_orders(count), rates), kernels.WHOLE)

    def call_in_parts(self, count: int, rates: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, Finished]:
        """Up to ``count`` iterations, in calls of which two can be at work at once."""
        total = np.zeros(4, np.int64)
        over: Finished = []
        for _ in range(count):
            at = total[kernels.STEPS]
            counts, finished = self.call_collect()
            total, over = total + counts, over + finished
            if total[kernels.OUTCOME] == kernels.FINE:
                policy, critic = (one[min(at, len(one) - 1)][None] for one in rates)
                total += self.learn_at((policy, critic))
            if total[kernels.OUTCOME] != kernels.FINE:
                break
        return total, over

    def call_collect(self) -> tuple[np.ndarray, Finished]:
        noise, rates = self.draw_noise()[None], self.present_rates()
        return self.count_calls(1, self.plan_call(noise, self.no_orders, rates), kernels.COLLECT)

    def call_learn(self) -> None:
        self.learn_at(self.present_rates())

    def learn_at(self, rates: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Learn from what was collected, at these learning rates: what was counted [4]."""
        call = self.plan_call(np.zeros((1, 1, 1, 1), np.float32), self.draw_orders(1), rates)
        if not self.is_split:
            return self.count_calls(1, call, kernels.LEARN)[0]
        policy, critic = (
            partial(self.count_calls, 1, call, half) for half in (kernels.POLICY, kernels.CRITIC)
        )
        (first, _), (second, _) = run_side_by_side(policy, critic)
        counts: np.ndarray = np.maximum(first, second)
        return counts

    def collect(self) -> tuple[Rollout, Finished]:
        self.collected, finished = super().collect()
        return self.collected, finished

    def draw_orders(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The kernel's ``orders`` of ``count`` updates, drawn in turn as by updates one at a time."""
        drawn = count if any(parts > 1 for _, parts, _ in self.splits) else 1  # one for all
        generator = self.learner.generator
        pairs = [
            [split_at_random(rows, parts, generator, epochs)[0] for rows, parts, epochs in self.splits]
            for _ in range(drawn)
        ]
        policy, critic = (np.stack(orders) for orders in zip(*pairs, strict=True))
        return policy, critic

    def has_collected(self, rollout: Rollout) -> bool:
        return rollout is self.collected

    def find_weighed_batch(self, rollout: Rollout) -> tuple[Rollout, torch.Tensor, Batch] | None:
        if not self.has_collected(rollout):
            return None
        return rollout, torch.from_numpy(self.weighing[3]), self.make_batch(rollout)

    def last_batch(self) -> tuple[Rollout, Batch]:
        rollout = self.last_rollout()
        return rollout, self.make_batch(rollout)

    def make_batch(self, rollout: Rollout) -> Batch:
        """The batch in the table's columns, with the Ψ that a minibatch's norm starts from."""
        table = torch.from_numpy(self.steps.data[3])
        psi, value, target = table[RAW_PSI], table[VALUE], table[TARGET]
        return Batch(**rollout.flattened_rows(), psi=psi, value=value, target=target, shape=self.shape)

    def plan_call(
        self, noise: np.ndarray, orders: tuple[np.ndarray, np.ndarray], rates: tuple[np.ndarray, np.ndarray]
    ) -> Callable[..., None]:
        """The kernel's call but for the part of the iteration, and what is counted."""
        own = self.pack_player(), noise, orders, self.records.arguments, self.weighing
        parts = *own, self.pack_actor(), self.pack_critic(), rates
        return lambda part, *counted: kernels.run_iterations(part, *parts, *counted)

    def pack_critic(self) -> tuple[Any, ...]:
        """The kernel's ``critic``."""
        steps, clip = self.critic.steps, self.critic.settings.clip
        rule = steps.optimizer.pack_rule()
        return steps.flat, rule, self.critic_edges, float(clip or 0.0), *self.critic_buffers
