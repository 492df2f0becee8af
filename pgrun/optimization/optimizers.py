"""How a gradient becomes a step: one rule an optimizer, on one flat vector, with clipping and a schedule.

The rules call torch's own fused kernels; torch.optim's step around them takes several times as long as they
do on a vector of this size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pgrun.config.schema import Decay, NonNegative, Positive
from pgrun.optimization.schedules import OVER_THE_RUN, Kind, Schedule, states_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OptimizerSettings:
    """``schedule=linear`` or ``cosine`` takes lr to ``lr_end`` over the run, ``kl`` keeps an update's KL near
    ``target_kl`` by it; ``max_grad_norm`` rescales longer gradients to that norm.
    """

    lr: Positive  # the learning rate
    schedule: Kind = "constant"  # how it goes over the run
    lr_end: NonNegative = 0.0  # where linear and cosine take it
    target_kl: Positive = 0.01  # of an update, which kl keeps to
    max_grad_norm: Positive | None = None
    read_when: ClassVar = {"lr_end": ("schedule", OVER_THE_RUN), "target_kl": ("schedule", "kl")}

    def start(self, theta: Tensor) -> dict[str, Tensor]:
        """The rule's state before the first step."""
        raise NotImplementedError

    def step(self, theta: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> None:
        """Move θ against the gradient, in place: one θ [P], or several side by side [S, P]."""
        raise NotImplementedError


class Optimizer:
    """Descends along loss gradients of θ [P] (in place)."""

    def __init__(self, theta: Tensor, settings: OptimizerSettings):
        self.theta, self.settings, self.state = theta, settings, settings.start(theta)
        self.schedule = Schedule(settings.lr, settings.schedule, settings.lr_end, settings.target_kl)

    @property
    def lr(self) -> float:
        """The learning rate at this point of the run."""
        return self.schedule.value

    def step(self, gradient: Tensor) -> None:
        gradient = self.clip_gradient(gradient)
        self.settings.step(self.theta, gradient, self.state, self.lr)

    def clip_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient, no longer than ``max_grad_norm``."""
        limit = self.settings.max_grad_norm
        if limit is None:
            return gradient
        norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)  # of 1e20, too, no infinity
        clipped: Tensor = gradient * (limit / (norm + 1e-6)).clamp(max=1).to(gradient)
        return clipped

    def state_dict(self) -> dict[str, Any]:
        return self.state | states_of({"schedule": self.schedule})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in self.state.items():
            value.copy_(state[name])
        self.schedule.load_state_dict(state.get("schedule", {}))


@dataclass(frozen=True)
class Adam(OptimizerSettings):
    """Kingma & Ba 2015, algorithm 1."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)  # of the running means of g and g²
    eps: Positive = 1e-8  # added to the root of the latter

    def start(self, theta: Tensor) -> dict[str, Tensor]:
        step = torch.zeros((), dtype=torch.float32, device=theta.device)
        return {"step": step, "first": torch.zeros_like(theta), "second": torch.zeros_like(theta)}

    def step(self, theta: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> None:
        self._fused(torch._fused_adam_, theta, gradient, state, lr, 0.0)

    def _fused(
        self,
        kernel: Callable[..., Any],
        theta: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        lr: float,
        weight_decay: float,
    ) -> None:
        state["step"] += 1
        first, second = self.betas

        def each(x: Tensor) -> list[Tensor]:
            return [x] if theta.dim() == 1 else list(x.unbind())

        kernel(
            each(theta), each(gradient), each(state["first"]), each(state["second"]), [], each(state["step"]),
            lr=lr, beta1=first, beta2=second, eps=self.eps, weight_decay=weight_decay,
            amsgrad=False, maximize=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Adamw(Adam):
    """Adam with decoupled weight decay; Loshchilov & Hutter 2019, algorithm 2."""

    weight_decay: NonNegative = 0.01  # of θ, times lr, in each step

    def step(self, theta: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> None:
        self._fused(torch._fused_adamw_, theta, gradient, state, lr, self.weight_decay)


@dataclass(frozen=True)
class Sgd(OptimizerSettings):
    """v ← momentum·v + g, θ ← θ − lr·v (Polyak 1964)."""

    momentum: Decay = 0.0  # of the step before

    def start(self, theta: Tensor) -> dict[str, Tensor]:
        return {"velocity": torch.zeros_like(theta)}

    def step(self, theta: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> None:
        theta.sub_(state["velocity"].mul_(self.momentum).add_(gradient), alpha=lr)


@dataclass(frozen=True)
class Rmsprop(OptimizerSettings):
    """v ← αv + (1−α)g², θ ← θ − lr·g/(√v + ε) (Tieleman & Hinton 2012, lecture 6.5)."""

    alpha: Decay = 0.99  # of the running mean of g²
    eps: Positive = 1e-5  # ε, added to its root

    def start(self, theta: Tensor) -> dict[str, Tensor]:
        return {"square": torch.zeros_like(theta)}

    def step(self, theta: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> None:
        square = state["square"].mul_(self.alpha).addcmul_(gradient, gradient, value=1 - self.alpha)
        theta.addcdiv_(gradient, square.sqrt().add_(self.eps), value=-lr)
