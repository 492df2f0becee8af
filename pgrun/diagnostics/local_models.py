"""What the local models of a step predicted, and what it did: the same three numbers for every algorithm.

At θ_old, with the step Δ that the update took (whatever took it: a natural step, Adam, forty epochs of
clipping),

    J ≈ J_old + ĝᵀΔ,    mean KL(old‖new) ≈ ½ΔᵀFΔ,

F the Fisher matrix of ``natural_gradient.fisher_product``, without damping. The first-order algorithms never
look at either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgrun.optimization.natural_gradient import fisher_product
from pgrun.policies.importance import weighted_log_ratio

if TYPE_CHECKING:
    from torch import Tensor

    from pgrun.policies.policy import Policy
    from pgrun.types import Batch

TAGS = ("step/gain_predicted", "step/gain_realised", "step/kl_quadratic")


def local_model_scalars(before: Policy, after: Policy, batch: Batch, gradient: Tensor) -> dict[str, Tensor]:
    """What was predicted of one update on ``batch``, and what it did, ``gradient`` = ĝ at θ_old:

    gain_predicted  ĝᵀΔ
    gain_realised   1/count Σ mask·(ρ − 1)Ψ on the same rows, ρ = π_new(a|s)/π_old(a|s): what ĝᵀΔ is the first
                    order of
    kl_quadratic    ½ΔᵀFΔ, to be compared with ``kl/old_new``
    """
    step = after.theta - before.theta
    log_prob = after.dist.log_prob(after.params(batch.obs), batch.action)
    gain = (batch.mask * batch.psi * weighted_log_ratio(log_prob, batch).expm1()).sum() / batch.count
    linear = gain.new_zeros(()) if batch.correction is None else batch.correction.dot(step)
    return {
        "step/gain_predicted": gradient.dot(step),
        "step/gain_realised": gain + linear,
        "step/kl_quadratic": 0.5 * step.dot(fisher_product(before, batch, 0.0)(step)),
    }
