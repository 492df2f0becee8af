"""Where the variance of a gradient term comes from: the state, the action, or the rest of the trajectory.

One term of the gradient is of one step. With (t, s) drawn as often as the policy comes there, L the mean
length of an episode and c what a scheme adds beside its Ψ,

    x = L (Ψₜ ∇log π(aₜ|sₜ) + cₜ),   E x = ∇J where the scheme is unbiased,

and by the law of total variance (Tucker et al. 2018, "The mirage of action-dependent baselines", eq. 4)

    Var x = Σ_s + Σ_a + Σ_τ
    Σ_s = Var_h E[x|h]                what the policy happens to see
    Σ_a = E_h Var_a E[x|h, a]         what it happens to do there
    Σ_τ = E_{h,a} Var[x|h, a]         what happens afterwards

Given is all that came before the action, h = (s₀, a₀, …, sₜ): in a Markov problem that is (t, s) for every
scheme whose Ψ begins at t. A baseline that knows h alone changes E[x|h, a] by b(h)∇log π, of mean 0: neither
E[x|h] nor Var[x|h, a] moves, so that Σ_a alone does. The past rewards in the whole return are such a
baseline. Variances are traces. Steps of one episode are dependent, so that this is no episode's variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.algorithms.estimator import Estimator
from pgrun.critics.base import Critic
from pgrun.exact import Problem
from pgrun.policies.policy import Policy
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import MOST, EveryEpisode, count_episode_rows
from pgrun.types import Rollout
from pgrun.variance.base import PerColumn, Scheme

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = 20_000_000  # of the gradients of all steps of all episodes


@dataclass(frozen=True)
class Parts:
    """Of one scheme; standard errors are 0 where all episodes are summed over."""

    state: float  # Σ_s
    action: float  # Σ_a
    rest: float  # Σ_τ
    total: float
    state_se: float = 0.0
    action_se: float = 0.0
    rest_se: float = 0.0
    total_se: float = 0.0


def can_list_terms(p: Problem | None, table: Any, parameters: int) -> bool:
    """Whether all terms of all episodes can be had at once."""
    if p is None:
        return False
    rows = count_episode_rows(p, table)
    return rows <= MOST and rows * parameters <= ENTRIES


def explain_undivided(scheme: Scheme, advantage_norm: str) -> str | None:
    """Why the terms of a scheme cannot be taken apart; None where they can."""
    if advantage_norm != "none":
        return "Ψ is normalised over all episodes of an estimate"
    if not isinstance(scheme, PerColumn):
        return "compares episodes, and a term of it is not of one episode"
    return None


def row_gradients(policy: Policy, rollout: Rollout, psi: Tensor, correction: Tensor | None) -> Tensor:
    """Ψ∇log π + c of each row with mask 1 [R, P], in the order of rows [T, N]; ``correction``: what a scheme
    adds to ∂/∂params [T, N, K].
    """
    live = rollout.mask.flatten() > 0
    kept = policy.activations(rollout.obs[:-1].flatten(0, 1)[live])
    score = policy.dist.score(kept[-1][:, policy.value_outputs :], rollout.action.flatten(0, 1)[live])
    delta = psi.flatten()[live][:, None] * score
    if correction is not None:
        delta = delta + correction.flatten(0, 1)[live]
    factors = policy.net.backpropagate(policy.layers, kept, policy.output_delta(delta, 0.0))
    return factors.sums(delta.new_ones(len(delta)), len(delta)).double().cpu()


def term_gradients(estimator: Estimator, seen: Seen, time: int | None = None) -> Tensor:
    """Those of a scheme [R, P], without the factor L; ``time``: of that step alone, [N, P]."""
    rollout, policy = seen.rollout_for(estimator.scheme), seen.policy
    psi = estimator.scheme.psi(rollout, seen.value_for(estimator.scheme), estimator.gamma)
    correction = estimator.scheme.params_correction(rollout, estimator.gamma, policy)
    if time is not None:
        now = slice(time, time + 1)
        rollout = replace(
            rollout, obs=rollout.obs[time : time + 2], action=rollout.action[now], mask=rollout.mask[now]
        )
        psi, correction = psi[now], None if correction is None else correction[now]
    return row_gradients(policy, rollout, psi, correction)


def decompose_exactly(every: EveryEpisode, policy: Policy, critic: Critic, estimator: Estimator) -> Parts:
    """Over all episodes."""
    mask = every.rollout.mask.double()
    chance = (mask * every.probability).flatten()[mask.flatten() > 0]  # of each step, [R]
    length = float(chance.sum())
    x = length * term_gradients(estimator, Seen(policy, every.rollout, critic))
    return split_variance(x, chance / length, *number_histories(every))


def split_variance(x: Tensor, chance: Tensor, before: Tensor, after: Tensor) -> Parts:
    """The law of total variance for x [R, P] of these chances [R]; ``before``, ``after``: the number of what
    came before the action, and of that with the action [R].
    """
    of_state, of_action = group_means(x, chance, before), group_means(x, chance, after)
    mean = chance @ x

    def spread(y: Tensor) -> float:
        return float(chance @ y.square().sum(1))

    return Parts(
        spread(of_state - mean), spread(of_action - of_state), spread(x - of_action), spread(x - mean)
    )


def group_means(x: Tensor, chance: Tensor, number: Tensor) -> Tensor:
    """For each row the mean over the rows of its number [R, P]."""
    groups = int(number.max()) + 1
    total = torch.zeros(groups, x.shape[1], dtype=x.dtype).index_add_(0, number, chance[:, None] * x)
    weight = torch.zeros(groups, dtype=x.dtype).index_add_(0, number, chance)
    return (total / weight[:, None].clamp(min=1e-300))[number]


def number_histories(every: EveryEpisode) -> tuple[Tensor, Tensor]:
    """(the number of h, the number of (h, a)) of each row with mask 1 [R], in the order of rows [T, N]."""
    rollout = every.rollout
    assert rollout.state is not None
    state, action, reward = (x.cpu().numpy() for x in (rollout.state, rollout.action, rollout.reward))
    live = rollout.mask.cpu().numpy() > 0
    before, after = np.zeros_like(action), np.zeros_like(action)
    first_before = first_after = 0
    here = number_rows(state[0])
    for t in range(len(action)):
        done = number_rows(here, action[t])
        before[t], after[t] = here + first_before, done + first_after
        first_before, first_after = first_before + here.max() + 1, first_after + done.max() + 1
        here = number_rows(done, reward[t], state[t + 1])
    return torch.from_numpy(before[live]), torch.from_numpy(after[live])


def number_rows(*columns: Any) -> Any:
    """Equal numbers where all columns are equal [N], from 0."""
    return np.unique(np.stack([x.astype(float) for x in columns], 1), axis=0, return_inverse=True)[1].ravel()


class Decomposition:
    """The part ``decompose`` of study.json, of every scheme whose terms can be taken apart."""

    key = "decompose"

    def __init__(self, by: str, divide: Callable[[], dict[str, Parts]], left_out: dict[str, str]):
        self.by, self.divide, self.left_out = by, divide, left_out

    def see(self, seen: Seen) -> None:
        pass

    def result(self) -> dict[str, Any]:
        schemes = {label: asdict(parts) for label, parts in self.divide().items()}
        return {"by": self.by, "schemes": schemes, "left_out": self.left_out}
