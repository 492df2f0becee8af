"""The steps of an update for several runs at once: each run's own minibatches, gradient and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.critics.base import Critic
from pgrun.critics.fitted import SeparateCritic, SharedCritic
from pgrun.optimization.optimizers import Optimizer
from pgrun.policies.normalization import NoRewardScale, RewardScale, RunningNorm
from pgrun.policies.policy import Policy
from pgrun.training.stacked.gathered import Gathered
from pgrun.types import Batch, each_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.training.build import Run

    Numbers = dict[str, Tensor]


class OneOf:
    """The objects of one run, of its numbers; all else is that of ``run``, which is the same for all."""

    def __init__(self, run: Run):
        self.run = run

    def policy(self, numbers: Numbers) -> Policy:
        policy = self.run.policy.with_theta(numbers["theta"])
        if isinstance(policy.normaliser, RunningNorm):
            policy.normaliser = copy(policy.normaliser)
            policy.normaliser.mean, policy.normaliser.scale = numbers["mean"], numbers["scale"]
        return policy

    def critic(self, numbers: Numbers, policy: Policy) -> Critic:
        critic = self.run.learner.critic
        if isinstance(critic, SeparateCritic):
            return SeparateCritic(critic.settings, critic.net, numbers["phi"], critic.optimizer)
        return SharedCritic(critic.settings, policy) if isinstance(critic, SharedCritic) else critic

    def scale(self, numbers: Numbers) -> RewardScale | NoRewardScale:
        scale = copy(self.run.scale)
        if isinstance(scale, RewardScale):
            scale.divisor = numbers["divisor"]
        return scale

    def learner(self, numbers: Numbers) -> Learner:
        own, policy = self.run.learner, self.policy(numbers)
        critic = self.critic(numbers, policy)
        return Learner(policy, critic, own.optimizer, own.generator, own.minibatch_norm)


def with_functional_weight(algorithm: Algorithm) -> Algorithm:
    """The algorithm, with ∂L/∂log π taken as ``vmap`` allows where it has no closed form of it."""
    if type(algorithm).gradient_weight is not Algorithm.gradient_weight:
        return algorithm
    twin: Any = copy(algorithm)
    twin.gradient_weight = lambda log_prob, rows: torch.func.grad(lambda x: algorithm.surrogate(x, rows))(
        log_prob
    )
    return cast("Algorithm", twin)


class StackedOptimizer(Optimizer):
    """One rule for every row of θ [S, P], each with a state of its own."""

    def __init__(self, theta: Tensor, optimizers: Sequence[Optimizer]):
        self.theta, self.settings, self.schedule = theta, optimizers[0].settings, optimizers[0].schedule
        self.gathered = Gathered(lambda: [optimizer.state for optimizer in optimizers])
        self.state = self.gathered.stacked

    def clip_gradient(self, gradient: Tensor) -> Tensor:
        return torch.vmap(super().clip_gradient)(gradient)


class StackedLearner(Learner):
    """What an algorithm's update works on, of S runs: batches are [S, B, …]."""

    def __init__(self, runs: Sequence[Run], numbers: Numbers):
        first = runs[0].learner
        super().__init__(first.policy, cast("Critic", StackedCritic(self)), first.optimizer, first.generator)
        self.one_of, self.numbers = OneOf(runs[0]), numbers
        self.generators = [run.learner.generator for run in runs]
        self.optimizer = StackedOptimizer(numbers["theta"], [run.learner.optimizer for run in runs])
        critics = [run.learner.critic for run in runs]
        self.critic_optimizer: StackedOptimizer | None = None
        if "phi" in numbers:
            own = [critic.optimizer for critic in critics if isinstance(critic, SeparateCritic)]
            self.critic_optimizer = StackedOptimizer(numbers["phi"], own)

    @property
    def optimizers(self) -> list[StackedOptimizer]:
        return [x for x in (self.optimizer, self.critic_optimizer) if isinstance(x, StackedOptimizer)]

    def find_moved(self) -> list[Tensor]:
        """θ, φ and the optimizers' states: all that an update changes."""
        return [x for one in self.optimizers for x in (one.theta, *one.state.values())]

    def ascend(self, algorithm: Algorithm, batch: Batch, parts: int = 1, epochs: int = 1) -> None:
        algorithm = with_functional_weight(algorithm)

        def loss_gradient(numbers: Numbers, rows: Batch) -> Tensor:
            learner = self.one_of.learner(numbers)
            return algorithm.loss_gradient(learner.renormalise(rows), learner)

        for _ in range(epochs):
            self.step_on_each(self.optimizer, loss_gradient, batch, parts)

    def step_on_each(
        self,
        optimizer: Optimizer,
        loss_gradient: Callable[[Numbers, Batch], Tensor],
        batch: Batch,
        parts: int,
    ) -> None:
        """A step on each of ``parts`` minibatches, which every run draws with its own generator, or on the
        whole batch.
        """

        def gradient(numbers: Numbers, tensors: dict[str, Any], index: Tensor | slice) -> Tensor:
            rows = replace(batch, **tensors)
            return loss_gradient(numbers, rows if isinstance(index, slice) else rows.rows(index))

        tensors = each_tensor(batch, lambda x: x)
        for index in self.draw_parts(batch.mask.shape[1], parts):
            each = 0 if isinstance(index, torch.Tensor) else None
            optimizer.step(torch.vmap(gradient, (0, 0, each))(self.numbers, tensors, index))

    def draw_parts(self, size: int, parts: int) -> Iterator[Tensor | slice]:
        """The rows of each minibatch [S, b], as ``shuffle_into_minibatches`` draws them for each run."""
        if parts == 1:
            yield slice(None)
            return
        orders = [torch.randperm(size, generator=g, device=g.device) for g in self.generators]
        order = torch.stack(orders)
        for start, stop in pairwise(size * k // parts for k in range(parts + 1)):
            yield order[:, start:stop]


class StackedCritic:
    """Their critics, as an update fits them after the policies."""

    fits_first = False

    def __init__(self, learner: StackedLearner):
        self.learner = learner

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        learner, critic = self.learner, self.learner.one_of.run.learner.critic
        if learner.critic_optimizer is None or not isinstance(critic, SeparateCritic):
            return

        def loss_gradient(numbers: Numbers, rows: Batch) -> Tensor:
            one = SeparateCritic(critic.settings, critic.net, numbers["phi"], critic.optimizer)
            return one.loss_gradient(rows)

        for _ in range(critic.settings.epochs):
            learner.step_on_each(learner.critic_optimizer, loss_gradient, batch, critic.settings.minibatches)
