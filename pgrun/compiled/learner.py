"""Steps on minibatches in compiled form, for any algorithm of first order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from pgrun.algorithms.base import Algorithm, Learner, Repeated
from pgrun.compiled.columns import stack_columns
from pgrun.compiled.critics import CompiledCritic
from pgrun.compiled.distributions import CompiledRows
from pgrun.compiled.mlp import CompiledMlp
from pgrun.compiled.optimizers import CompiledDescent
from pgrun.compiled.tape import NotByRow
from pgrun.compiled.tracing import TracedWeight, trace_gradient_weight
from pgrun.config.own_code import require_shape
from pgrun.critics.fitted import SharedCritic
from pgrun.kernels import minibatch as kernels
from pgrun.kernels.arrays import NO_CHOICE, NO_NUMBERS, NO_VECTOR, Buffers, is_plain, to_array, to_rows
from pgrun.kernels.row_programs import BLOCK
from pgrun.optimization.minibatches import split_at_random
from pgrun.terminal.cores import count_usable_cores, run_side_by_side
from pgrun.types import Batch

NORMS = {"none": kernels.NONE, "center": kernels.CENTER, "scale": kernels.SCALE, "full": kernels.FULL}
PASSES_WORTH_A_THREAD = 1024  # rows: to hand a call over costs as much as some hundred
GRADIENT_METHODS = ("ascend", "loss_gradient", "params_gradient")  # what the compiled step stands in for


@dataclass
class CompiledLearner(Learner):
    """A learner whose steps on minibatches are compiled where the algorithm is one of first order.

    An algorithm that takes its steps in a way of its own (it overrides one of ``GRADIENT_METHODS``) and
    networks, distributions and optimizers without a twin take the general path, and so does one that keeps
    episodes whole. Which one it is hangs on their types and settings alone.
    """

    steps: dict[int, MinibatchSteps | None] = field(
        default_factory=dict, repr=False
    )  # by id of the algorithm

    def take_update(self, algorithm: Algorithm, batch: Batch) -> None:
        steps, fitted = self.find_steps(algorithm, batch), batch.for_critic
        critic = self.critic if type(self.critic) is CompiledCritic else None
        if steps is None or critic is None or critic.fits_first or not takes_passes_alone(algorithm):
            super().take_update(algorithm, batch)
            return
        parts, epochs = count_passes(algorithm)
        rows = min(len(batch.mask) * epochs, len(fitted.mask) * critic.settings.epochs)
        if not is_worth_a_thread(rows) or not is_plain(fitted.obs) or not steps.can_plan(batch):
            super().take_update(algorithm, batch)
            return
        run_side_by_side(steps.plan_ascent(batch, parts, epochs), critic.plan_fit(fitted, self.generator))

    def ascend(self, algorithm: Algorithm, batch: Batch, parts: int = 1, epochs: int = 1) -> None:
        steps = self.find_steps(algorithm, batch)
        if steps is None:
            super().ascend(algorithm, batch, parts, epochs)
        else:
            steps.ascend(batch, parts, epochs)

    def find_steps(self, algorithm: Algorithm, batch: Batch) -> MinibatchSteps | None:
        """The compiled steps of the algorithm on such a batch; None where it takes the general path."""
        if id(algorithm) not in self.steps:
            self.steps[id(algorithm)] = (
                MinibatchSteps(self, algorithm) if is_covered(self, algorithm) else None
            )
        return self.steps[id(algorithm)] if is_plain(batch.obs) and batch.obs.numel() else None


def is_worth_a_thread(rows: int) -> bool:
    """Whether calls that pass over so many rows are faster on two cores, and there are two."""
    return rows >= PASSES_WORTH_A_THREAD and count_usable_cores() > 1


def count_passes(algorithm: Algorithm) -> tuple[int, int]:
    """(minibatches of an epoch, epochs) of an algorithm's update."""
    return (algorithm.minibatches, algorithm.epochs) if isinstance(algorithm, Repeated) else (1, 1)


def takes_passes_alone(algorithm: Algorithm) -> bool:
    """Whether an update is passes over the batch, all of them, and then the critic's fit."""
    base: type[Algorithm] = Repeated if isinstance(algorithm, Repeated) else Algorithm
    methods = (algorithm.update, Algorithm.update), (algorithm.improve, base.improve)
    return all(getattr(mine, "__func__", None) is usual for mine, usual in methods) and not (
        isinstance(algorithm, Repeated) and algorithm.stop_rule()
    )


def is_covered(learner: Learner, algorithm: Algorithm) -> bool:
    """Whether the compiled step computes what the algorithm's own methods would."""
    policy, critic = learner.policy, learner.critic
    own = any(getattr(type(algorithm), name) is not getattr(Algorithm, name) for name in GRADIENT_METHODS)
    joint = type(critic) is SharedCritic if policy.value_outputs else not isinstance(critic, SharedCritic)
    return (
        not own
        and not algorithm.keeps_episodes_whole
        and joint
        and type(policy.net) is CompiledMlp
        and isinstance(policy.dist, CompiledRows)
        and is_plain(policy.theta)
        and isinstance(learner.optimizer, CompiledDescent)
    )


class MinibatchSteps:
    """The compiled step for one algorithm, with its buffers.

    ``traced`` is None where the algorithm's weight is computed in torch.
    """

    def __init__(self, learner: Learner, algorithm: Algorithm):
        self.learner, self.algorithm = learner, algorithm
        self.traced: TracedWeight | None = None
        self.decided = False
        self.batch: Batch | None = None  # whose columns are laid out
        self.data: tuple[Any, ...] = ()
        self.buffers = Buffers()
        policy, net = learner.policy, learner.policy.net
        assert isinstance(net, CompiledMlp)
        assert isinstance(policy.dist, CompiledRows)
        assert isinstance(learner.optimizer, CompiledDescent)
        self.dist, self.optimizer, self.layers_outputs = policy.dist, learner.optimizer, net.outputs
        self.net = (*net.pack_net(policy.theta.numpy()), policy.value_outputs, net.free)
        self.gradient = np.zeros(net.size, np.float32)

    def trace_weight(self, batch: Batch) -> None:
        """Trace the algorithm's weight, once; what cannot be traced is computed in torch from then on."""
        self.decided = True
        try:
            self.traced = trace_gradient_weight(self.algorithm, batch.extra)
        except NotByRow:
            self.traced = None

    def ascend(self, batch: Batch, parts: int, epochs: int) -> None:
        """Take a step on each of ``parts`` minibatches drawn at random, ``epochs`` times."""
        if self.can_plan(batch):
            self.plan_ascent(batch, parts, epochs)()
            return
        if self.batch is not batch:
            self.batch, self.data = batch, self.lay_out_columns(batch)
        for _ in range(epochs):
            order = split_at_random(len(batch.mask), parts, self.learner.generator)
            self.ascend_in_torch(batch, parts, *order)

    def can_plan(self, batch: Batch) -> bool:
        """Whether all steps on the batch are one call: the weight is a traced program."""
        if not self.decided:
            self.trace_weight(batch)
        return self.traced is not None and self.traced.fits(self.algorithm)

    def plan_ascent(self, batch: Batch, parts: int, epochs: int) -> Callable[[], None]:
        """The steps of all epochs as one call, with the weights of the traced program; their minibatches are
        drawn now.
        """
        traced = self.traced
        assert traced is not None
        if self.batch is not batch:
            self.batch, self.data = batch, self.lay_out_columns(batch)
        order, edges = split_at_random(len(batch.mask), parts, self.learner.generator, epochs)
        scalars = self.buffers.take("scalars", len(traced.scalars))[: len(traced.scalars)]
        traced.fill_scalars(self.algorithm, scalars)
        registers = self.buffers.take("registers", traced.registers * BLOCK)
        return partial(
            kernels.ascend_epochs,
            self.net,
            self.dist.code,
            self.optimizer.pack_rule(),
            self.data,
            order,
            edges,
            traced.program,
            scalars,
            NORMS[self.learner.minibatch_norm],
            self.pack_task(batch, batch.count),
            registers[: traced.registers * BLOCK].reshape(-1, BLOCK),
            *self.take_buffers(-(-len(batch.mask) // parts)),
        )

    def ascend_in_torch(self, batch: Batch, parts: int, order: np.ndarray, edges: np.ndarray) -> None:
        """Take the steps of one epoch, with weights from ``algorithm.gradient_weight`` in torch."""
        mixed = batch if parts == 1 else batch.rows(torch.from_numpy(order))
        seen, back = self.take_buffers(-(-len(order) // parts))
        for start, stop in pairwise(edges.tolist()):
            index = order[start:stop]
            rows = self.learner.renormalise(mixed if parts == 1 else mixed.rows(slice(start, stop)))
            kernels.evaluate_minibatch(self.net, self.dist.code, self.data, index, seen)
            log_prob = torch.from_numpy(seen[5][: len(index)].copy())
            weight = self.algorithm.gradient_weight(log_prob, rows)
            require_shape(self.algorithm.gradient_weight, weight, tuple(log_prob.shape), log_prob)
            back[0][: len(index)] = weight.numpy()
            task, rule = self.pack_task(batch, rows.count), self.optimizer.pack_rule()
            kernels.step_minibatch(self.net, self.dist.code, rule, self.data, index, task, seen, back)

    def lay_out_columns(self, batch: Batch) -> tuple[Any, ...]:
        """The batch's columns that are read, as the kernels' ``data``."""
        rows = len(batch.mask)
        extra: tuple[torch.Tensor, ...] = ()
        if self.traced is not None:
            names = self.traced.columns[len(kernels.COLUMNS) :]
            extra = tuple(batch.extra[name.removeprefix("extra.")] for name in names)
        table = stack_columns(batch, *extra)
        choice, vector = self.dist.split_action(batch.action, rows)
        wide = (rows, 0)
        choice = choice if choice is not NO_CHOICE else NO_CHOICE.reshape(wide)
        vector = vector if vector is not NO_VECTOR else NO_VECTOR.reshape(wide)
        return to_rows(batch.obs), choice, vector, table, to_rows(batch.params)

    def pack_task(self, batch: Batch, count: float) -> tuple[Any, ...]:
        """The kernels' ``task``: (entropy, β, value coefficient, value clip, divisor, correction)."""
        critic, algorithm = self.learner.critic, self.algorithm
        coef, clip = 0.0, None
        if isinstance(critic, SharedCritic):
            coef, clip = critic.settings.coef, critic.settings.clip
        correction = NO_NUMBERS if batch.correction is None else to_array(batch.correction)
        own = float(algorithm.entropy_weight), float(algorithm.kl_weight)
        return *own, float(coef), float(clip or 0.0), float(count), correction

    def take_buffers(self, rows: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The kernels' ``seen`` and ``back``, for minibatches of at most so many rows."""
        obs, choice, vector, _, params = self.data
        take, outputs = self.buffers.take, self.layers_outputs
        seen = (
            take("x", rows * obs.shape[1]),
            take("chosen", rows * choice.shape[1], np.int64),
            take("taken", rows * vector.shape[1]),
            take("acts", rows * outputs),
            take("params", rows * params.shape[1]),
            take("log_prob", rows),
        )
        back = (
            take("weight", rows),
            take("upward", rows * params.shape[1]),
            take("before", rows * params.shape[1]),
            take("deltas", rows * outputs),
            self.gradient,
        )
        return seen, back
