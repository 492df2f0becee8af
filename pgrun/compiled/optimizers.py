"""The compiled twin of an optimizer: norm clipping and the rule in one call, on the state that is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pgrun.kernels import optimizer_rules as rule_kernels
from pgrun.kernels.arrays import NO_NUMBERS, is_plain, to_array
from pgrun.optimization.optimizers import Adam, Adamw, Optimizer, OptimizerSettings, Rmsprop, Sgd

if TYPE_CHECKING:
    from torch import Tensor

CODE: dict[type, int] = {
    Sgd: rule_kernels.SGD,
    Adam: rule_kernels.ADAM,
    Adamw: rule_kernels.ADAMW,
    Rmsprop: rule_kernels.RMSPROP,
}


def order_hyper_parameters(settings: OptimizerSettings, lr: float) -> list[float]:
    """(lr, norm limit, first decay, second decay, ε, weight decay): the kernels' order."""
    first, second = getattr(settings, "betas", (0.0, 0.0))
    match settings:
        case Sgd():
            first = settings.momentum
        case Rmsprop():
            second = settings.alpha
    eps, decay = getattr(settings, "eps", 0.0), getattr(settings, "weight_decay", 0.0)
    return [lr, settings.max_grad_norm or 0.0, first, second, eps, decay]


class CompiledDescent(Optimizer):
    """A ``Optimizer`` whose step is one kernel call."""

    def __init__(self, descent: Optimizer):
        self.theta, self.settings, self.schedule, self.state = (
            descent.theta,
            descent.settings,
            descent.schedule,
            descent.state,
        )
        state = {
            name: x.numpy() for name, x in self.state.items()
        }  # views: what is loaded is copied into them
        first = state.get("first", state.get("velocity", NO_NUMBERS))
        second = state.get("second", state.get("square", NO_NUMBERS))
        step = state["step"].reshape(1) if "step" in state else NO_NUMBERS
        self.hyper = np.zeros(6)
        self.parts = (CODE[type(self.settings)], self.hyper, first, second, step)
        self.array = self.theta.numpy()

    def pack_rule(self) -> tuple[Any, ...]:
        """The kernels' ``rule``, with the lr of this point of the run."""
        self.hyper[:] = order_hyper_parameters(self.settings, self.lr)
        return self.parts

    def step(self, gradient: Tensor) -> None:
        rule_kernels.apply_rule(self.array, to_array(gradient), self.pack_rule())


def compile_optimizer(descent: Optimizer) -> Optimizer:
    """The compiled twin of an optimizer.

    A rule of the user's own, and one for other numbers than float32 on the CPU, stays what it is.
    """
    if type(descent) is Optimizer and type(descent.settings) in CODE and is_plain(descent.theta):
        return CompiledDescent(descent)
    return descent
