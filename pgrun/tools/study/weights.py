"""Importance weights compared on the same data: episodes of another policy β, and the
gradient of the frozen policy π.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.algorithms.off_policy_pg import OffPolicyPg, log_ratio
from pgrun.config.schema import find_violations, format_value, setting_kinds
from pgrun.critics.base import NoCritic
from pgrun.errors import Mistake
from pgrun.exact import Problem, policy_table, state_visits, values, weighted_scores
from pgrun.policies.importance import effective_share
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.schemes import UNBIASED, read_scheme_entry
from pgrun.types import Batch
from pgrun.variance.base import Scheme
from pgrun.variance.leave_out import rows_by_unit
from pgrun.variance.none import None_
from pgrun.variance.reward_to_go import RewardToGo

if TYPE_CHECKING:
    from torch import Tensor

TO_GO = RewardToGo(discounting="from_start")
KINDS: dict[str, tuple[str, Scheme]] = {  # name: (algo.weights, Ψ)
    "trajectory": ("trajectory", None_()),
    "trajectory_rtg": ("trajectory", TO_GO),
    "per_decision": ("per_decision", TO_GO),
    "past_only": ("past_only", TO_GO),
    "state_ratio": ("state_ratio", TO_GO),
    "per_step": ("per_step", TO_GO),
}
CLAIMS = {
    "past_only": "biased: Q of the behaviour",
    "state_ratio": "biased: Q of the behaviour",
    "per_step": "biased: states and Q of the behaviour",
}


def find_wrong_weights(given: Any) -> Iterator[Mistake]:
    """What is wrong with ``weights``."""
    if given is None:
        return
    entries = [given] if isinstance(given, str | Mapping) else given
    if not isinstance(entries, list) or not entries:
        yield Mistake(
            "weights",
            format_value(given),
            "must be a list such as [trajectory,per_step,{trajectory:{truncate:10}}]",
        )
        return
    for one in (one for entry in entries for one in read_scheme_entry(entry)):
        if one.name not in KINDS:
            yield Mistake("weights", None, f"there is no {one.name}; there are {', '.join(KINDS)}")
        elif "truncate" not in setting_kinds(OffPolicyPg) or set(one.given) - {"truncate"}:
            yield Mistake("weights", None, f"{one.name} takes truncate=…, and nothing else")
        else:
            yield from find_violations(f"weights: {one.name}.", one.given, OffPolicyPg)


def make_weighted_estimators(
    given: Any, policy: Policy, behaviour: Policy, p: Problem | None, gamma: float
) -> dict[str, Weighted]:
    """The importance-weighted estimators that ``weights`` asks for, by label."""
    entries = [given] if isinstance(given, str | Mapping) else given or []
    estimators = {}
    for one in (one for entry in entries for one in read_scheme_entry(entry)):
        kind, scheme = KINDS[one.name]
        algorithm = OffPolicyPg(weights=kind, **one.given)  # type: ignore[arg-type]
        algorithm.problem = p if kind == "state_ratio" else None
        estimators[one.label] = Weighted(one.name, algorithm, Estimator(scheme, gamma), policy, behaviour, p)
    return estimators


@dataclass
class Weighted:
    """One choice of weights, as a maker of estimates."""

    name: str
    algorithm: OffPolicyPg
    estimator: Estimator
    policy: Policy  # π
    behaviour: Policy  # β
    problem: Problem | None

    @property
    def claim(self) -> str:
        cut = self.algorithm.truncate is not None
        return "biased: truncated" if cut else CLAIMS.get(self.name, UNBIASED)

    def estimates(self, seen: Seen, batch: int) -> Tensor:
        """ĝ of each group of ``batch`` columns [G, P]."""
        rollout = seen.rollout
        rows = self.rows(seen)
        psi = self.algorithm.weighted_psi(self.ratio(rows), rows).view(rows.shape)
        columns = rollout.mask.shape[1]
        return seen.scores.sums(rows_by_unit(rollout.mask * psi, columns), columns // batch) / batch

    def rows(self, seen: Seen) -> Batch:
        rollout = seen.rollout
        value = rollout.reward.new_zeros(rollout.obs.shape[:-1])
        return self.estimator.batch(rollout, value, NoCritic(), self.policy)

    def ratio(self, rows: Batch) -> Tensor:
        """log ρ [T, N]; p_π/p_β of the states is set beside it."""
        old = self.algorithm.chances(self.behaviour, rows)
        self.algorithm.state_ratio = self.algorithm.chances(self.policy, rows) / old
        log_prob = self.policy.dist.log_prob(self.policy.params(rows.obs), rows.action)
        return log_ratio(log_prob, rows)

    def mean(self) -> Tensor | None:
        """E ĝ [P] of those that are biased in a known way, where the problem is known."""
        if self.problem is None or self.name not in CLAIMS or self.algorithm.truncate is not None:
            return None
        p, beta = self.problem, policy_table(self.behaviour, self.problem)
        whose = beta if self.name == "per_step" else policy_table(self.policy, p)
        gamma = self.estimator.gamma
        return weighted_scores(self.policy, p, gamma, state_visits(p, whose), values(p, beta, gamma)[1])


class Products:
    """The products ∏ρ themselves, of whole episodes and of single steps; what they are exactly, and how
    states are visited.
    """

    key = "products"

    def __init__(self, policy: Policy, behaviour: Policy, p: Problem | None, gamma: float):
        self.one = Weighted(
            "trajectory", OffPolicyPg(weights="trajectory"), Estimator(TO_GO, gamma), policy, behaviour, p
        )
        self.log_products: list[Tensor] = []
        self.largest_ratio = 0.0

    def see(self, seen: Seen) -> None:
        ratio = self.one.ratio(self.one.rows(seen)).double()
        self.log_products.append(ratio.sum(0).cpu())
        self.largest_ratio = max(self.largest_ratio, float(ratio.max().exp()))

    def result(self) -> dict[str, Any]:
        w = torch.cat(self.log_products).exp()
        squares = w.square()
        summary = {
            "mean": float(w.mean()),
            "mean_se": float(w.std()) / len(w) ** 0.5,
            "max": float(w.max()),
            "square": float(squares.mean()),
            "square_se": float(squares.std()) / len(w) ** 0.5,
            "ess": float(effective_share(torch.cat(self.log_products), len(w))),
            "largest_ratio": self.largest_ratio,
        }
        p = self.one.problem
        return (
            summary
            if p is None
            else summary
            | exact_weight_moments(p, policy_table(self.one.policy, p), policy_table(self.one.behaviour, p))
        )


def exact_weight_moments(p: Problem, pi: Tensor, beta: Tensor) -> dict[str, Any]:
    """The largest product, E_β[W²], the share of episodes that they are worth, and
    the shift of the visited states.
    """
    ratio = pi / beta
    ends = 1 - p.transition.sum(-1)  # P(terminated | s, a)
    reachable = p.transition > 0
    square, largest = torch.ones_like(p.start), torch.ones_like(p.start)
    for _ in range(p.horizon):
        square = (beta * ratio.square() * (ends + p.transition @ square)).sum(1)
        later = torch.where(reachable, largest, 0.0).amax(-1).maximum((ends > 1e-12).to(ratio))
        largest = (torch.where(beta > 0, ratio, 0.0) * later).amax(1)
    second = float(p.start @ square)
    return {
        "max_exact": float(largest[p.start > 0].max()),
        "square_exact": second,
        "ess_exact": 1 / second,
        "states": shift_of_visits(p, pi, beta),
    }


def shift_of_visits(p: Problem, pi: Tensor, beta: Tensor) -> dict[str, Any]:
    """How far state visits move, by time step t: max_s |p_π(sₜ)/p_β(sₜ) − 1|, Σ_s |p_π − p_β|, and what that
    cannot exceed, 2t·max_s TV(π, β).
    """
    new, old = state_visits(p, pi), state_visits(p, beta)
    reached = old > 1e-12
    ratio = torch.where(reached, (new / old.clamp(min=1e-300) - 1).abs(), 0.0)
    variation = float((pi - beta).abs().sum(1).max()) / 2
    return {
        "ratio": ratio.amax(1).tolist(),
        "shift": (new - old).abs().sum(1).tolist(),
        "bound": [2 * t * variation for t in range(len(new))],
    }
