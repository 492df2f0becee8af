"""How a gradient becomes a step: one rule an optimizer, on one flat vector, with clipping and a schedule.

The rules call torch's own fused kernels; torch.optim's step around them takes several times as long as they
do on a vector of this size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from pgrun.config.schema import Decay, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OptimizerSettings:
    """``schedule=linear`` takes lr to 0 over the run; ``max_grad_norm`` rescales
    longer gradients to that norm.
    """

    lr: Positive  # the learning rate
    schedule: Literal["constant", "linear"] = "constant"
    max_grad_norm: Positive | None = None

    def start(self, theta: Tensor) -> dict[str, Tensor]:
        """The rule's state before the first step."""
        raise NotImplementedError

    def step(self, theta: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> None:
        """Move θ against the gradient, in place."""
        raise NotImplementedError


class Optimizer:
    """Descends along loss gradients of θ [P] (in place)."""

    def __init__(self, theta: Tensor, settings: OptimizerSettings):
        self.theta, self.settings = theta, settings
        self.lr, self.state = settings.lr, settings.start(theta)

    def set_progress(self, progress: float) -> None:
        """The share of the run that is done, in [0, 1]."""
        decay = 1 - progress if self.settings.schedule == "linear" else 1.0
        self.lr = self.settings.lr * max(decay, 0.0)

    def step(self, gradient: Tensor) -> None:
        limit = self.settings.max_grad_norm
        if limit is not None:
            gradient = gradient * (limit / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp(max=1)
        self.settings.step(self.theta, gradient, self.state, self.lr)

    def state_dict(self) -> dict[str, Tensor]:
        return self.state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in self.state.items():
            value.copy_(state[name])


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
        kernel(
            [theta], [gradient], [state["first"]], [state["second"]], [], [state["step"]],
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
