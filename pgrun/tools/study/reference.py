"""What ∇J_γ of the time-limited problem is: exactly where it can be known, otherwise from many
more episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import gymnasium as gym
import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import NoCritic
from pgrun.envs.problems.teaching_continuous import Lq1, TwoGaussians
from pgrun.envs.wrappers import changing_wrappers
from pgrun.exact import gradient, objective, policy_table
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen, Source
from pgrun.tools.study.policy import find_tabular_problem
from pgrun.tools.study.score import Reference
from pgrun.variance.leave_one_out import LeaveOneOut

if TYPE_CHECKING:
    from torch import Tensor


GROUPS = 200  # independent estimates whose mean a sampled reference is
SAMPLED = LeaveOneOut(
    discounting="from_start", returns="reward_to_go"
)  # unbiased for any policy and environment


def exact_reference(env: gym.Env, policy: Policy, gamma: float) -> tuple[Tensor, float] | None:
    """(∇J_γ [P], J_γ), or None where nobody knows them."""
    p = find_tabular_problem(env)
    if p is not None:
        exact = gradient(policy, p, gamma).double().cpu()
        return exact, float(objective(p, policy_table(policy, p), gamma))
    return closed_form_reference(env, policy, gamma)


def closed_form_reference(env: gym.Env, policy: Policy, gamma: float) -> tuple[Tensor, float] | None:
    """(∇J, J) of the two problems with a real action, for a Gaussian of linear mean: θ = (k, log σ)."""
    inner = env.unwrapped
    if not isinstance(inner, TwoGaussians | Lq1) or changing_wrappers(env):
        return None
    if len(policy.theta) != 2 or not policy.dist.free:
        return None
    k, log_sigma = (float(x) for x in policy.theta)
    if isinstance(inner, TwoGaussians):
        return torch.tensor([1.0, 0.0], dtype=torch.float64), k
    sigma, horizon = math.exp(log_sigma), getattr(env.spec, "max_episode_steps", None)
    if horizon is None:
        return None
    by_k, by_sigma = inner.problem.gradient(k, sigma, gamma, horizon)
    j = inner.problem.objective(k, sigma, gamma, horizon)
    return torch.tensor([by_k, sigma * by_sigma], dtype=torch.float64), float(j)


def sample_reference(
    policy: Policy, source: Source, gamma: float, episodes: int, tell: Callable[[int], None] = lambda _: None
) -> Reference:
    """From about ``episodes`` episodes, in an even number of groups of at least two.

    ``tell`` hears how many were played.
    """
    groups = max(4, min(GROUPS, episodes // 2) // 2 * 2)
    batch = max(episodes // groups, 2)
    estimator = Estimator(SAMPLED, gamma)
    reference = []
    for rollout in source.rollouts(groups, batch):
        reference.append(Seen(policy, rollout, NoCritic()).estimates(estimator, batch).cpu())
        tell(rollout.mask.shape[1])
    return Reference.sampled(torch.cat(reference))
