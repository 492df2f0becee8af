"""Compiled twins of critics that have a network of their own: their fitting in one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from pgrun.compiled.columns import stack_columns
from pgrun.compiled.mlp import CompiledMlp
from pgrun.compiled.optimizers import CompiledDescent
from pgrun.critics.action_value import ActionCritic
from pgrun.critics.fitted import SeparateCritic
from pgrun.kernels import minibatch as kernels
from pgrun.kernels.arrays import Buffers, is_plain, to_rows
from pgrun.kernels.mlp import fill_activations
from pgrun.optimization.minibatches import split_at_random
from pgrun.types import Batch


class ValueSteps:
    """Steps of φ down the value loss, with their buffers."""

    def __init__(self, critic: Any):
        net, optimizer = critic.net, critic.optimizer
        assert isinstance(net, CompiledMlp)
        assert isinstance(optimizer, CompiledDescent)
        self.net, self.optimizer, self.buffers = net, optimizer, Buffers()
        self.flat = net.pack_net(critic.phi.numpy())
        self.gradient = np.zeros(net.size, np.float32)

    def plan_descent(
        self, x: torch.Tensor, batch: Batch, epochs: int, parts: int, clip: float | None, generator: Any
    ) -> Callable[[], None]:
        """``epochs`` passes over the rows x [N, in] in ``parts`` minibatches each, drawn now, as one call."""
        rows, take = to_rows(x), self.buffers.take
        most = -(-len(rows) // parts)
        return partial(
            kernels.descend_epochs,
            self.flat,
            self.optimizer.pack_rule(),
            rows,
            stack_columns(batch),
            *split_at_random(len(rows), parts, generator, epochs),
            float(clip or 0.0),
            take("x", most * self.net.inputs),
            take("acts", most * self.net.outputs),
            take("deltas", most * self.net.outputs),
            self.gradient,
        )


class CompiledCritic(SeparateCritic):
    """A ``SeparateCritic`` whose fit is one call."""

    def __init__(self, critic: SeparateCritic):
        super().__init__(critic.settings, critic.net, critic.phi, critic.optimizer)
        self.steps = ValueSteps(self)

    def value(self, obs: torch.Tensor) -> torch.Tensor:
        if not is_plain(obs) or not obs.numel():
            return super().value(obs)
        rows = to_rows(obs)
        held = np.empty(len(rows) * self.steps.net.outputs, np.float32)
        fill_activations(self.steps.flat, rows, held)
        return torch.from_numpy(held[-len(rows) :].copy()).view(obs.shape[:-1])

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        if not is_plain(batch.obs):
            super().fit(batch, generator)
            return
        self.plan_fit(batch, generator)()

    def plan_fit(self, batch: Batch, generator: torch.Generator) -> Callable[[], None]:
        """The fit as one call, with its minibatches drawn now."""
        epochs, parts, clip = self.settings.epochs, self.settings.minibatches, self.settings.clip
        return self.steps.plan_descent(batch.obs, batch, epochs, parts, clip, generator)


class CompiledActionCritic(ActionCritic):
    """An ``ActionCritic`` whose step is one call."""

    def __init__(self, critic: ActionCritic):
        vars(self).update(vars(critic))
        self.steps = ValueSteps(self)

    def fit(self, batch: Batch, generator: torch.Generator) -> None:
        x = self.inputs(batch.obs, batch.action)
        if not is_plain(x):
            super().fit(batch, generator)
            return
        self.steps.plan_descent(x, batch, 1, 1, None, generator)()
        self.follower.lerp_(self.phi, self.settings.rate)
