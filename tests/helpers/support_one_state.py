"""OneState by enumeration: one column for each length of an episode, staying n − 1
times and then ending; two logits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.rollouts.trajectory import Arrays
from pgrun.types import Rollout
from tests.helpers.support_exact import EXACT


def policy(stay: float) -> Policy:
    """π(stay) = θ from the logits (log θ, log(1 − θ))."""
    theta = torch.tensor([math.log(stay), math.log(1 - stay)], dtype=torch.float64)
    return Policy(Mlp([1, 2], bias=False), Categorical(2), theta, NoStateNorm())


def episodes(stay: float, longest: int) -> tuple[Rollout, Tensor]:
    """(every episode of up to ``longest`` steps, their probabilities); the rest must
    be too rare to matter.
    """
    assert stay**longest < EXACT
    row, length = torch.arange(longest)[:, None], torch.arange(1, longest + 1)
    mask, last = row < length, row == length - 1
    arrays = Arrays(
        obs=torch.ones(longest + 1, longest, 1, dtype=torch.float64).numpy(),
        action=last.long().numpy(),
        reward=(mask & ~last).double().numpy(),
        terminated=last.numpy(),
        ended=last.numpy(),
        mask=mask.numpy(),
        time=row.expand(longest, longest).numpy(),
    )
    probability = stay ** (length - 1).double() * (1 - stay)
    return arrays.to_rollout(policy(stay), NoRewardScale(), longest, whole=True), probability
