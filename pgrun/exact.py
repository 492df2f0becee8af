"""Exact J, V, Q, ∇J and Fisher matrix of a tabular problem, by backward induction
over its time limit; float64.

``Problem`` is for the time-limited J_γ = E Σ_{t<H} γᵗ rₜ: what estimators without a critic are unbiased for.
A policy enters as its table π [S, A].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pgrun.envs.masks import is_masked
from pgrun.envs.problems.transitions import check_transitions
from pgrun.envs.wrappers import changing_wrappers
from pgrun.policies.policy import Policy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Problem:
    transition: Tensor  # [S, A, S]  P(s', not terminated | s, a)
    reward: Tensor  # [S, A]  E[r | s, a]
    start: Tensor  # [S]
    seen: Tensor  # [S]  the observation in each state
    observations: int
    horizon: int

    def encoded(self) -> Tensor:
        """What a policy sees in each state, one-hot: [S, O]"""
        return torch.eye(self.observations, dtype=torch.float64)[self.seen]


def read_problem(env: Any, horizon: int | None = None) -> Problem:
    """The problem of any environment that publishes a transition table: ours, FrozenLake, CliffWalking, Taxi.

    Raises ``LookupError`` where there is no table, or none that is right, or neither a time limit nor
    ``horizon``.
    """
    inner = env.unwrapped
    if is_masked(env):
        raise LookupError("its table knows no mask of actions; leave env.action_mask out")
    if not hasattr(inner, "P"):
        raise LookupError("it publishes no transition table")
    start = getattr(inner, "start", getattr(inner, "initial_state_distrib", None))
    try:
        check_transitions(inner.P, start, getattr(inner, "seen", None))
    except (ValueError, TypeError, AttributeError) as error:
        raise LookupError(f"its transition table is none: {error}") from error
    if wrappers := changing_wrappers(env):
        raise LookupError(f"{' and '.join(wrappers)} around it may change what its transition table says")
    if getattr(inner, "fickle_passenger", False):
        raise LookupError("it does not keep to its table: its passenger is fickle")
    limit = horizon or getattr(env.spec, "max_episode_steps", None) or natural_horizon(inner.P)
    states, actions = len(inner.P), len(inner.P[0])
    transition, reward = np.zeros((states, actions, states)), np.zeros((states, actions))
    for s, by_action in inner.P.items():
        for a, outcomes in by_action.items():
            for chance, successor, gain, terminated in outcomes:
                reward[s, a] += chance * gain
                transition[s, a, successor] += chance * (not terminated)
    seen = getattr(inner, "seen", np.arange(states))
    return Problem(
        transition=torch.from_numpy(transition),
        reward=torch.from_numpy(reward),
        start=torch.as_tensor(start, dtype=torch.float64),
        seen=torch.from_numpy(seen),
        observations=int(seen.max()) + 1,
        horizon=limit,
    )


def natural_horizon(table: Any) -> int:
    """The longest episode of a table without cycles: how long it takes until nothing
    is under way, whatever is done.
    """
    follows = {
        s: {n for outcomes in by_action.values() for p, n, _, end in outcomes if p > 0 and not end}
        for s, by_action in table.items()
    }
    under_way, steps = set(table), 0
    while under_way:
        if steps == len(table):
            raise LookupError("its episodes can go on for ever: give a horizon (env.max_episode_steps)")
        under_way, steps = set().union(*(follows[s] for s in under_way)), steps + 1
    return steps


def values(p: Problem, policy: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """(V [H+1, S], Q [H, S, A]) with h steps gone: V_H = 0, Q_h = r + γPV_{h+1}, V_h = Σ_a πQ_h."""
    qs: list[Tensor] = []
    v, vs = torch.zeros_like(p.start), [torch.zeros_like(p.start)]
    while len(qs) < p.horizon:
        q = p.reward + gamma * (p.transition @ v)
        before, v = v, (policy * q).sum(1)
        repeats = p.horizon - len(qs) if is_settled(before, v) else 1
        qs += [q] * repeats
        vs += [v] * repeats
    return torch.stack(vs[::-1]), torch.stack(qs[::-1])


def is_settled(before: Tensor, now: Tensor) -> bool:
    """Whether a step that moved no number moves none from here on. Its derivatives may still move."""
    return not now.requires_grad and torch.equal(before, now)


def objective(p: Problem, policy: Tensor, gamma: float) -> Tensor:
    """J_γ [] = Σ_s P(s₀ = s)V₀(s), V_h = r_π + γP_πV_{h+1}: a fraction of the work of ``values``."""
    reward, follows = (policy * p.reward).sum(1), gamma * torch.einsum("sa,san->sn", policy, p.transition)
    v = torch.zeros_like(p.start)
    for _ in range(p.horizon):
        before, v = v, torch.addmv(reward, follows, v)
        if is_settled(before, v):
            break
    return p.start @ v


def state_visits(p: Problem, policy: Tensor) -> Tensor:
    """P(sₜ = s, still going) [H, S]"""
    visits: list[Tensor] = []
    here = p.start
    follows = torch.einsum("sa,san->sn", policy, p.transition)
    while len(visits) < p.horizon:
        before, here = here, here @ follows
        visits += [before] * (p.horizon - len(visits) if is_settled(before, here) else 1)
    return torch.stack(visits)


def network_inputs(policy: Policy, p: Problem) -> Tensor:
    """What the policy's network gets in each state [S, O], normalised if states are."""
    return policy.normaliser(p.encoded().to(policy.theta))


def policy_table(policy: Policy, p: Problem) -> Tensor:
    """π [S, A] of a policy over Discrete actions."""
    return policy.params(network_inputs(policy, p)).double().softmax(-1).cpu()


def gradient(policy: Policy, p: Problem, gamma: float) -> Tensor:
    """∇J_γ [P] = Σₜ γᵗ Σ_s P(sₜ = s) Σ_a π(a|s) Qₜ(s, a) ∇log π(a|s) (Sutton et al. 2000, theorem 1)."""
    pi = policy_table(policy, p)
    return weighted_scores(policy, p, gamma, state_visits(p, pi), values(p, pi, gamma)[1])


def weighted_scores(policy: Policy, p: Problem, gamma: float, often: Tensor, q: Tensor) -> Tensor:
    """Σₜ γᵗ Σ_s oftenₜ(s) Σ_a π(a|s) qₜ(s, a) ∇log π(a|s) [P]; with visits [H, S] and
    Q [H, S, A] of π itself, ∇J_γ.
    """
    pi = policy_table(policy, p)
    discount = gamma ** torch.arange(p.horizon, dtype=torch.float64)
    weight = torch.einsum("t,ts,tsa->sa", discount, often, q) * pi  # [S, A]
    kept = policy.activations(network_inputs(policy, p))
    delta = weight - pi * weight.sum(1, keepdim=True)  # Σ_a weight_a ∂log π(a)/∂params
    return policy.net.gradient(policy.layers, kept, policy.output_delta(delta.to(kept[-1]), 0.0))


def fisher(policy: Policy, p: Problem) -> Tensor:
    """F [P, P] = Σ_s d(s) Σ_a π(a|s) ∇log π ∇log πᵀ, d(s) ∝ Σₜ P(sₜ = s): the mean over visited states
    (Kakade 2002).

    What natural steps use, and the Hessian of their mean KL. For a table of logits its block of a state is
    d(s)(diag(p) − ppᵀ), and with logits that depend on ψ it is JᵀFJ, J their derivative. On OneState
    1/(θ(1 − θ)) in θ.
    """
    often = state_visits(p, policy_table(policy, p)).sum(0)
    return outer_products(policy, p, often / often.sum())


def fisher_of_trajectories(policy: Policy, p: Problem) -> Tensor:
    """E_τ[BBᵀ], B = Σₜ ∇log π(aₜ|sₜ): the mean length of an episode times ``fisher``, since a later score has
    mean 0 given an earlier one (Bagnell & Schneider 2003). On OneState 1/(θ(1 − θ)²) in θ.
    """
    return outer_products(policy, p, state_visits(p, policy_table(policy, p)).sum(0))


def outer_products(policy: Policy, p: Problem, weight: Tensor) -> Tensor:
    """Σ_s weight_s Σ_a π(a|s) ∇log π(a|s) ∇log π(a|s)ᵀ [P, P]"""
    pi, obs, states = policy_table(policy, p), network_inputs(policy, p), len(weight)
    total = torch.zeros(len(policy.theta), len(policy.theta), dtype=torch.float64)
    for a in range(pi.shape[1]):
        action = torch.full((states,), a, device=obs.device)
        scores = policy.scores(obs, action).sums(obs.new_ones(states), states).double().cpu()
        total += scores.T @ ((weight * pi[:, a])[:, None] * scores)
    return total
