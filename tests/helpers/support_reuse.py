"""An algorithm that reuses the episodes of an older policy, and the gradient that it takes from them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.base import Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_pg import OffPolicyPg
from pgrun.critics.base import NoCritic
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.types import Rollout
from pgrun.variance.base import Scheme
from pgrun.variance.reward_to_go import RewardToGo
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_enumerate import batch_of
from tests.helpers.support_exact import GAMMA, MDPS

all_mdps = pytest.mark.parametrize("name", MDPS)
TO_GO = RewardToGo(discounting="from_start")


class MovesTo:
    """An optimizer whose first step lands on the given θ, and which keeps the gradients it is handed."""

    def __init__(self, policy: Policy, theta: Tensor):
        self.policy, self.theta, self.handed = policy, theta, []

    def step(self, gradient: Tensor) -> None:
        self.handed.append(gradient)
        self.policy.theta.copy_(self.theta)


def reused(
    weights: str,
    rollout: Rollout,
    old: Policy,
    new: Tensor,
    scheme: Scheme = TO_GO,
    gamma: float = GAMMA,
    **given,
) -> tuple[OffPolicyPg, Tensor]:
    """(the algorithm after two steps on data of ``old``, the ascent direction at
    ``new`` that the second was handed).
    """
    policy = Policy(old.net, old.dist, old.theta.clone(), NoStateNorm())
    batch = batch_of(policy, rollout, torch.zeros_like(rollout.obs[..., 0]), Estimator(scheme, gamma))
    algorithm, optimizer = OffPolicyPg(weights=weights, reuses=2), MovesTo(policy, new)
    for name, value in given.items():
        setattr(algorithm, name, value)
    algorithm.improve(batch, Learner(policy, NoCritic(), optimizer, torch.Generator()))
    return algorithm, -optimizer.handed[1]
