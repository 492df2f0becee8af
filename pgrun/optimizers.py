"""How a gradient becomes a step: torch's optimizers on one flat vector, with clipping and a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pgrun.schema import NonNegative, Positive, Probability


class Descent:
    """Descends along loss gradients of θ [P] (in place)."""

    def __init__(self, theta: Tensor, rule: torch.optim.Optimizer, settings: Settings):
        self.theta, self.rule, self.settings = theta, rule, settings

    def set_progress(self, progress: float) -> None:
        """The share of the run that is done, in [0, 1]: the linear schedule goes from lr to 0."""
        decay = 1 - progress if self.settings.schedule == "linear" else 1.0
        for group in self.rule.param_groups:
            group["lr"] = self.settings.lr * max(decay, 0.0)

    def step(self, gradient: Tensor) -> None:
        limit = self.settings.max_grad_norm
        if limit is not None:
            gradient = gradient * (limit / (gradient.norm() + 1e-6)).clamp(max=1)
        self.theta.grad = gradient
        self.rule.step()

    def state_dict(self) -> dict[str, Any]:
        return self.rule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rule.load_state_dict(state)


@dataclass(frozen=True)
class Settings:
    lr: Positive
    schedule: Literal["constant", "linear"] = "constant"
    max_grad_norm: Positive | None = None

    def rule(self, theta: Tensor) -> torch.optim.Optimizer:
        raise NotImplementedError

    def build(self, theta: Tensor) -> Descent:
        return Descent(theta, self.rule(theta), self)


@dataclass(frozen=True)
class Adam(Settings):
    """Kingma & Ba 2015, algorithm 1."""

    betas: tuple[Probability, ...] = (0.9, 0.999)
    eps: Positive = 1e-8

    def rule(self, theta: Tensor) -> torch.optim.Optimizer:
        first, second = self.betas
        return torch.optim.Adam([theta], self.lr, (first, second), self.eps, fused=True)


@dataclass(frozen=True)
class Adamw(Settings):
    """Adam with decoupled weight decay; Loshchilov & Hutter 2019, algorithm 2."""

    betas: tuple[Probability, ...] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.01

    def rule(self, theta: Tensor) -> torch.optim.Optimizer:
        first, second = self.betas
        return torch.optim.AdamW(
            [theta], self.lr, (first, second), self.eps, self.weight_decay, fused=True
        )


@dataclass(frozen=True)
class Sgd(Settings):
    """θ ← θ − lr·g, with momentum if asked for."""

    momentum: Probability = 0.0

    def rule(self, theta: Tensor) -> torch.optim.Optimizer:
        return torch.optim.SGD([theta], self.lr, self.momentum, fused=True)


@dataclass(frozen=True)
class Rmsprop(Settings):
    """Tieleman & Hinton 2012, lecture 6.5."""

    alpha: Probability = 0.99
    eps: Positive = 1e-5

    def rule(self, theta: Tensor) -> torch.optim.Optimizer:
        return torch.optim.RMSprop([theta], self.lr, self.alpha, self.eps)
