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
from pgrun.variance.leave_out import keep_psi


@dataclass(frozen=True)
class OwnScheme(Scheme):
    """The returns to go, or what ``mistake`` says."""

    mistake: str = ""

    def psi(self, rollout: Any, value: Any, gamma: float) -> Any:
        psi = returns_to_go(rollout, value, gamma)
        wrong = {"vector": psi[0], "turned": psi.T, "array": psi.numpy(), "nothing": None}
        wrong |= {"double": psi.double(), "whole": psi.long(), "elsewhere": psi.to("meta")}
        wrong |= {"graph": psi.clone().requires_grad_()}
        return ask_for_field(rollout) if self.mistake == "raises" else wrong.get(self.mistake, psi)


@dataclass(frozen=True)
class OwnEstimate(OwnScheme):
    """One that looks at the scores, or what ``mistake`` says."""

    sees_scores: ClassVar[bool] = True

    def estimate(self, rollout: Any, value: Any, gamma: float, policy: Any) -> Any:
        psi, theta = self.psi(rollout, value, gamma), policy.theta
        wrong = {"no pair": psi, "short correction": (psi, theta[:3]), "double pair": (psi.double(), None)}
        return wrong.get(self.mistake, (psi, torch.zeros_like(theta)))


@dataclass(frozen=True)
class OwnDeleteOne(OwnScheme):
    """One with a closed form of its own, or what ``mistake`` says."""

    def delete_one_psi(self, rollout: Any, value: Any, gamma: float, units: int) -> Any:
        kept = keep_psi(self.psi(rollout, value, gamma), units)
        wrong = {"no delete-one": kept.x, "long scale": replace(kept, scale=kept.x.flatten())}
        return wrong.get(self.mistake, kept)


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
        wrong = {"double reward": rollout.reward.double(), "short reward": rollout.reward[1:]}
        if self.mistake in wrong:
            return replace(rollout, reward=wrong[self.mistake])
        own = {"flat extra": rollout.reward.flatten(), "extra elsewhere": rollout.reward.to("meta")}
        extra = {"flat": own[self.mistake]} if self.mistake in own else {}
        return replace(rollout, extra=extra)

    def surrogate(self, log_prob: Any, batch: Any) -> Any:
        if self.mistake == "surrogate raises":
            return log_prob.mean(batch)
        wrong = {"rows": log_prob * batch.psi, "constant": batch.psi.sum(), "no surrogate": None}
        return wrong.get(self.mistake, (log_prob * batch.psi).sum() / batch.count)

    def gradient_weight(self, log_prob: Any, batch: Any) -> Any:
        right = super().gradient_weight(log_prob, batch)
        wrong = {"one weight": right.sum(), "double weight": right.double()}
        return wrong.get(self.mistake, right)

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
