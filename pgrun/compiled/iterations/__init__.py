"""Whole iterations of a run in one call, where all parts of it are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.compiled.iterations.base import BY_PROGRESS, Iterations
from pgrun.compiled.iterations.on_policy import OnPolicyIterations
from pgrun.compiled.iterations.replayed import ReplayedIterations
from pgrun.compiled.learner import is_covered
from pgrun.compiled.tape import NotByRow
from pgrun.compiled.tracing import trace_gradient_weight
from pgrun.kernels.minibatch import COLUMNS
from pgrun.policies.normalization import NoRewardScale, NoStateNorm
from pgrun.rollouts.compiled_player import player_of

if TYPE_CHECKING:
    from pgrun.envs import Envs


def compile_iterations(
    learner: Learner,
    algorithm: Algorithm,
    estimator: Estimator,
    sampler: Any,
    envs: Envs,
    noise: torch.Generator,
    scale: Any,
) -> Iterations | None:
    """What does whole iterations of such a run; None where some part of it needs the general way."""
    policy = learner.policy
    plain = (
        envs.is_program
        and type(scale) is NoRewardScale
        and type(policy.normaliser) is NoStateNorm
        and is_covered(learner, algorithm)
        and learner.optimizer.settings.schedule in BY_PROGRESS
    )
    if not plain:
        return None
    kinds = (OnPolicyIterations, ReplayedIterations)
    kind = next((kind for kind in kinds if kind.covers(learner, algorithm, estimator, sampler)), None)
    if kind is None:
        return None
    try:
        traced = trace_gradient_weight(algorithm, {})
    except NotByRow:
        return None
    player, own_columns = player_of(policy, envs), traced.columns[len(COLUMNS) :]  # type: ignore[arg-type]
    if player is None or own_columns:
        return None
    return kind(learner, algorithm, estimator, sampler, player, traced, noise)
