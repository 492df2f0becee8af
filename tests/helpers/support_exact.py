"""Small tabular problems, solved by dynamic programming, for a softmax policy with a logit W[a, s] for every
state and action.

Nothing here knows the code that trains: see support_enumerate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GAMMA = 0.9
EXACT = 1e-10  # sums of 64² terms of size 10 in float64 round at 1e-12; a wrong formula is off by ``FAR``
FAR = 1e-2
torch.set_num_threads(1)  # the tensors are tiny, and other tests run beside these


@dataclass(frozen=True)
class Mdp:
    """Starts in state 0 and is cut off after ``horizon`` steps; outcome S of the last axes is termination."""

    chance: Tensor  # [S, A, S+1]
    reward: Tensor  # [S, A, S+1]
    horizon: int

    @property
    def states(self) -> int:
        return len(self.chance)


def random_mdp(allowed: list[list[int]], horizon: int, seed: int) -> Mdp:
    """Random chances of the outcomes that ``allowed`` marks by 1 for each state, and
    random rewards; two actions.
    """
    rng = torch.Generator().manual_seed(seed)
    possible = torch.tensor(allowed, dtype=torch.float64)[:, None, :].expand(-1, 2, -1)
    chance = possible * torch.rand(possible.shape, generator=rng, dtype=torch.float64).add(0.2)
    reward = 3 * torch.randn(possible.shape, generator=rng, dtype=torch.float64) + 1
    return Mdp(chance / chance.sum(-1, keepdim=True), reward, horizon)


MDPS = {
    "terminates": random_mdp([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]], horizon=3, seed=1),
    "time_limit": random_mdp([[1, 1, 0], [1, 1, 0]], horizon=3, seed=2),
    "both": random_mdp([[0, 1, 1], [1, 1, 0]], horizon=3, seed=3),
}


def theta_for(mdp: Mdp, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(2 * mdp.states, generator=rng, dtype=torch.float64)


def probabilities(mdp: Mdp, theta: Tensor) -> Tensor:
    """π(a|s) [S, A]"""
    return theta.view(2, mdp.states).T.softmax(-1)


def action_values(mdp: Mdp, theta: Tensor, gamma: float, last: Tensor) -> tuple[Tensor, Tensor]:
    """Q [H, S, A] and V [H+1, S] by backward induction from V_H = last."""
    pi, values, actual = probabilities(mdp, theta), [last], []
    for _ in range(mdp.horizon):
        actual.append((mdp.chance * mdp.reward).sum(-1) + gamma * mdp.chance[..., :-1] @ values[-1])
        values.append((pi * actual[-1]).sum(-1))
    return torch.stack(actual[::-1]), torch.stack(values[::-1])


def time_limited(mdp: Mdp, theta: Tensor, gamma: float = GAMMA) -> tuple[Tensor, Tensor]:
    """Q and V of the problem whose return ends at the time limit."""
    return action_values(mdp, theta, gamma, torch.zeros(mdp.states, dtype=torch.float64))


def visits(mdp: Mdp, theta: Tensor) -> Tensor:
    """P(alive at t in s) [H, S]"""
    pi, at = probabilities(mdp, theta), torch.eye(mdp.states, dtype=torch.float64)[0]
    collected = []
    for _ in range(mdp.horizon):
        collected.append(at)
        at = torch.einsum("s,sa,sax->x", at, pi, mdp.chance[..., :-1])
    return torch.stack(collected)


def gradient_by_step(mdp: Mdp, theta: Tensor, weight: Tensor) -> Tensor:
    """E[weight(t, sₜ, aₜ) ∇log π(aₜ|sₜ)] for each t [H, P], weight [H, S, A]:
    πₐ(weightₐ − Σ π weight) per logit.
    """
    pi = probabilities(mdp, theta)
    centred = weight - (pi * weight).sum(-1, keepdim=True)
    return (visits(mdp, theta)[..., None] * pi * centred).mT.flatten(1)


def discounts(mdp: Mdp, gamma: float = GAMMA) -> Tensor:
    """γᵗ [H, 1]"""
    return gamma ** torch.arange(mdp.horizon, dtype=torch.float64)[:, None]


def true_gradient(mdp: Mdp, theta: Tensor, gamma: float = GAMMA) -> Tensor:
    """∇J_γ of the time-limited problem [P]"""
    return (discounts(mdp, gamma) * gradient_by_step(mdp, theta, time_limited(mdp, theta, gamma)[0])).sum(0)


def error(x: Tensor, y: Tensor) -> float:
    return float((x - y).abs().max())


def wrong_critic(mdp: Mdp, constant_in_time: bool = True) -> Tensor:
    """A V [H+1, S] that is nobody's value function."""
    rng = torch.Generator().manual_seed(7)
    table = 2 * torch.randn(mdp.horizon + 1, mdp.states, generator=rng, dtype=torch.float64)
    return table[:1].expand(mdp.horizon + 1, -1).contiguous() if constant_in_time else table
