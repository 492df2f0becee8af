"""Exact J, V, Q, ∇J and Fisher matrix of a tabular problem, by backward induction over its time limit; float64.

``Problem`` is for the time-limited J_γ = E Σ_{t<H} γᵗ rₜ: what estimators without a critic are unbiased for. A policy
enters as its table π [S, A].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pgrun.policies import Policy


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


def problem(env: Any, horizon: int | None = None) -> Problem:
    """Of any environment that publishes a transition table: ours, FrozenLake, CliffWalking, Taxi.

    Raises ``LookupError`` where there is no table, or neither a time limit nor ``horizon``.
    """
    inner = env.unwrapped
    if not hasattr(inner, "P"):
        raise LookupError(f"{env} publishes no transition table")
    limit = horizon or getattr(env.spec, "max_episode_steps", None) or natural_horizon(inner.P)
    states, actions = len(inner.P), len(inner.P[0])
    transition, reward = np.zeros((states, actions, states)), np.zeros((states, actions))
    for s, by_action in inner.P.items():
        for a, outcomes in by_action.items():
            for chance, successor, gain, terminated in outcomes:
                reward[s, a] += chance * gain
                transition[s, a, successor] += chance * (not terminated)
    start = getattr(inner, "start", getattr(inner, "initial_state_distrib", None))
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
    """The longest episode of a table without cycles."""
    lengths: dict[int, int] = {}

    def longest(s: int, above: frozenset[int]) -> int:
        if s in above:
            raise LookupError("episodes can go on for ever: give a horizon")
        if s not in lengths:
            after = {n for by in table[s].values() for p, n, _, end in by if p > 0 and not end}
            lengths[s] = 1 + max((longest(n, above | {s}) for n in after), default=0)
        return lengths[s]

    return max(longest(s, frozenset()) for s in table)


def values(p: Problem, policy: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """(V [H+1, S], Q [H, S, A]) with h steps gone: V_H = 0, Q_h = r + γPV_{h+1}, V_h = Σ_a πQ_h."""
    v, qs, vs = torch.zeros_like(p.start), [], [torch.zeros_like(p.start)]
    for _ in range(p.horizon):
        q = p.reward + gamma * p.transition @ v
        v = (policy * q).sum(1)
        qs.append(q)
        vs.append(v)
    return torch.stack(vs[::-1]), torch.stack(qs[::-1])


def objective(p: Problem, policy: Tensor, gamma: float) -> Tensor:
    """J_γ []"""
    return p.start @ values(p, policy, gamma)[0][0]


def visits(p: Problem, policy: Tensor) -> Tensor:
    """P(sₜ = s, still going) [H, S]"""
    here, found = p.start, []
    for _ in range(p.horizon):
        found.append(here)
        here = torch.einsum("s,sa,san->n", here, policy, p.transition)
    return torch.stack(found)


def table(policy: Policy, p: Problem) -> Tensor:
    """π [S, A] of a policy over Discrete actions."""
    return policy.params(p.encoded().to(policy.theta.dtype)).softmax(-1).double()


def gradient(policy: Policy, p: Problem, gamma: float) -> Tensor:
    """∇J_γ [P] = Σₜ γᵗ Σ_s P(sₜ = s) Σ_a π(a|s) Qₜ(s, a) ∇log π(a|s) (Sutton et al. 2000, theorem 1)."""
    pi = table(policy, p)
    _, q = values(p, pi, gamma)
    discount = gamma ** torch.arange(p.horizon, dtype=torch.float64)
    weight = torch.einsum("t,ts,tsa->sa", discount, visits(p, pi), q) * pi  # [S, A]
    kept = policy.activations(p.encoded().to(policy.theta.dtype))
    delta = weight - pi * weight.sum(1, keepdim=True)  # Σ_a weight_a ∂log π(a)/∂params
    return policy.net.gradient(policy.layers, kept, policy.output_delta(delta.to(kept[-1].dtype), 0.0))
