"""A scheme, an algorithm and a network as users write them, each with a kind of mistake to choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from pgrun.algorithms.a2c import A2c
from pgrun.policies.policy import Network
from pgrun.policies.torch_module import TorchModuleNet
from pgrun.variance.base import Scheme, returns_to_go


@dataclass(frozen=True)
class OwnScheme(Scheme):
    """The returns to go, or what ``mistake`` says."""

    mistake: str = ""

    def psi(self, rollout: Any, value: Any, gamma: float) -> Any:
        psi = returns_to_go(rollout, value, gamma)
        wrong = {"vector": psi[0], "turned": psi.T, "array": psi.numpy(), "nothing": None}
        return ask_for_field(rollout) if self.mistake == "raises" else wrong.get(self.mistake, psi)


def ask_for_field(rollout: Any) -> Any:
    return rollout.rewards


@dataclass
class OwnAlgorithm(A2c):
    """A2C, or what ``mistake`` says."""

    mistake: str = ""
    tags: ClassVar[tuple[str, ...]] = ("own/share",)

    def prepare_rollout(self, rollout: Any, learner: Any) -> Any:
        if self.mistake == "no rollout":
            return None
        extra = {"flat": rollout.reward.flatten()} if self.mistake == "flat extra" else {}
        return replace(rollout, extra=extra)

    def surrogate(self, log_prob: Any, batch: Any) -> Any:
        if self.mistake == "surrogate raises":
            return log_prob.mean(batch)
        wrong = {"rows": log_prob * batch.psi, "constant": batch.psi.sum(), "no surrogate": None}
        return wrong.get(self.mistake, (log_prob * batch.psi).sum() / batch.count)

    def gradient_weight(self, log_prob: Any, batch: Any) -> Any:
        right = super().gradient_weight(log_prob, batch)
        return right.sum() if self.mistake == "one weight" else right

    def scalars(self) -> Any:
        wrong = {"undeclared": {"own/shares": torch.tensor(1.0)}, "number": {"own/share": 1.0}, "list": [1.0]}
        return wrong.get(self.mistake, {"own/share": torch.tensor(1.0)})


@dataclass(frozen=True)
class OwnNetwork(Network):
    """A linear layer, or what ``mistake`` says."""

    mistake: str = ""

    def net(self, inputs: int, outputs: int, free: int = 0) -> Any:
        if self.mistake == "module":
            return nn.Linear(inputs, outputs)
        make = {
            "wide": lambda: nn.Linear(inputs, outputs + 1),
            "inner sizes": lambda: nn.Sequential(nn.Linear(inputs, 8), nn.Linear(9, outputs)),
            "buffers": lambda: nn.BatchNorm1d(inputs),
        }
        return TorchModuleNet(make.get(self.mistake, lambda: nn.Linear(inputs, outputs)), inputs, free)
