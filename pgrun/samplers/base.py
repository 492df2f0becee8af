"""What every sampler does after collecting."""

from __future__ import annotations

import torch

from pgrun.normalise import RewardScale, UnitScale
from pgrun.policies import Policy
from pgrun.state import Stateless
from pgrun.types import Rollout


class OnPolicy(Stateless):
    """What was just collected is what is learned from."""

    def recall(
        self, rollout: Rollout, policy: Policy, scale: RewardScale | UnitScale, generator: torch.Generator
    ) -> Rollout | None:
        return rollout
