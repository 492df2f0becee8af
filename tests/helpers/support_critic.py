"""Gradients that training takes from given rollouts with a given critic, and the
exact critic without an environment.
"""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import torch
from torch import Tensor

from pgrun import exact
from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator, with_values
from pgrun.algorithms.reinforce import Reinforce
from pgrun.critics.base import Critic
from pgrun.critics.exact import ExactCritic
from pgrun.policies.policy import Policy
from pgrun.types import Rollout
from pgrun.variance.base import Scheme
from pgrun.variance.leave_out import rows_by_unit


def update_of(
    policy: Policy,
    rollout: Rollout,
    critic: Critic,
    scheme: Scheme,
    gamma: float = 1.0,
    algorithm: Algorithm | None = None,
) -> Tensor:
    """The ascent direction that one update of training hands to the optimizer [P]."""
    steps: list[Tensor] = []
    learner = Learner(policy, critic, SimpleNamespace(step=steps.append), torch.Generator())
    algorithm = algorithm or Reinforce()
    rollout, value = with_values(algorithm.prepare_rollout(rollout, learner), critic, scheme)
    batch = Estimator(scheme, gamma).batch(rollout, value, critic, policy)
    algorithm.update(batch, learner)
    return -steps[0]


def each_gradient(
    policy: Policy, rollout: Rollout, critic: Critic, scheme: Scheme, gamma: float = 1.0
) -> Tensor:
    """The same for each column as a batch of its own [N, P], for schemes that mix no columns."""
    rollout, value = with_values(rollout, critic, scheme)
    psi, _ = Estimator(scheme, gamma).psi(rollout, value, policy)
    units = rollout.mask.shape[1]
    scores = policy.scores(rows_by_unit(rollout.obs[:-1], units), rows_by_unit(rollout.action, units))
    return scores.sums(rows_by_unit(rollout.mask * psi, units), units) / (rollout.count / units)


def moments(probability: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(mean [P], E‖x − mean‖²) over columns x [N, P]."""
    mean = probability @ x
    return mean, probability @ (x - mean).square().sum(1)


def exact_critic(env: str, policy: Policy, gamma: float = 1.0, factor: float = 1.0, **kwargs) -> ExactCritic:
    return ExactCritic(exact.read_problem(gymnasium.make(env, **kwargs)), policy, gamma, factor)
