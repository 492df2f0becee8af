"""Whole iterations of a run in one call, where all parts of it are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pgrun.algorithms.base import Algorithm, Learner
from pgrun.algorithms.estimator import Estimator
from pgrun.compiled.iterations.base import BY_PROGRESS, Iterations
from pgrun.compiled.iterations.on_policy import OnPolicyIterations
from pgrun.compiled.iterations.replayed import ReplayedIterations
from pgrun.compiled.iterations.replayed_updates import ReplayedUpdates
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
    if not (is_covered(learner, algorithm) and learner.optimizer.settings.schedule in BY_PROGRESS):
        return None
    policy, parts = learner.policy, (learner, algorithm, estimator, sampler)
    plain = type(scale) is NoRewardScale and type(policy.normaliser) is NoStateNorm
    player = player_of(policy, envs) if plain and envs.is_program else None  # type: ignore[arg-type]
    kinds = (OnPolicyIterations, ReplayedIterations) if player is not None else ()
    kind = next((kind for kind in kinds if kind.covers(*parts)), None)
    if kind is None and not ReplayedUpdates.covers(*parts, scale):
        return None
    try:
        traced = trace_gradient_weight(algorithm, {})
    except NotByRow:
        return None
    if traced.columns[len(COLUMNS) :]:
        return None
    if kind is None or player is None:
        return ReplayedUpdates(*parts, envs, traced, noise, scale)
    return kind(*parts, player, traced, noise)
