"""Exact variances of the ladder's estimators on a tabular problem, by moments that
are handed back from step to step.

For one episode from state s with h steps gone, by backward induction: the pair of what an estimate adds up
and of what it multiplies by. A mean over N independent episodes has 1/N of the variance, and a baseline from
the other N − 1 adds to it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pgrun.exact import Problem, gradient, objective, policy_table, values
from pgrun.policies.policy import Policy


def outcomes(env, policy: Policy, p: Problem) -> tuple[Tensor, ...]:
    """(state, chance given the state, ∇log π, reward, successor, going on) of
    everything that can happen in a step [K].
    """
    pi = policy_table(policy, p)
    obs = p.encoded().to(policy.theta)
    rows: list[tuple] = []
    scores = []
    for s, by_action in env.unwrapped.P.items():
        for a, possible in by_action.items():
            score = policy.scores(obs[s : s + 1], torch.tensor([a])).sums(obs.new_ones(1), 1)[0].double()
            for chance, successor, reward, ends in possible:
                rows.append((s, float(pi[s, a]) * chance, reward, successor, 1.0 - ends))
                scores.append(score)
    columns = torch.tensor(rows, dtype=torch.float64).T
    return columns[0].long(), columns[1], torch.stack(scores), columns[2], columns[3].long(), columns[4]


def whole_return(env, policy: Policy, p: Problem) -> dict[str, float]:
    """Moments at γ = 1 of R = r(τ) and B = Σₜ gₜ: E‖B‖²Rᵏ and E Rᵏ, k = 0, 1, 2."""
    s, chance, g, r, n, on = outcomes(env, policy, p)
    size, wide = len(p.start), g.shape[1]
    power = torch.zeros(3, size, dtype=torch.float64)
    power[0] = 1
    along = torch.zeros(3, size, wide, dtype=torch.float64)  # E B Rᵏ
    square = torch.zeros(3, size, dtype=torch.float64)  # E ‖B‖² Rᵏ
    binomial = ((1,), (1, 1), (1, 2, 1))
    for _ in range(p.horizon):
        later = torch.stack([on * power[k][n] if k else torch.ones_like(on) for k in range(3)])
        later_b, later_sq = on[:, None] * along[:, n], on * square[:, n]
        new = [torch.zeros_like(x) for x in (power, along, square)]
        for k in range(3):
            for j, times in enumerate(binomial[k]):
                w = chance * times * r ** (k - j)
                new[0][k].index_add_(0, s, w * later[j])
                new[1][k].index_add_(0, s, w[:, None] * (g * later[j][:, None] + later_b[j]))
                dots = g.square().sum(1) * later[j] + 2 * (g * later_b[j]).sum(1) + later_sq[j]
                new[2][k].index_add_(0, s, w * dots)
        power, along, square = new
    collected = {f"r{k}": float(p.start @ power[k]) for k in range(3)}
    return collected | {f"b{k}": float(p.start @ square[k]) for k in range(3)}


def weighted(env, policy: Policy, p: Problem, lam: float, critic: bool) -> float:
    """E‖Σₜ gₜΨₜ‖² at γ = 1 for Ψₜ = δₜ + λ(1 − dₜ)Ψₜ₊₁, δ of the exact V, or of V ≡ 0
    where there is no critic.
    """
    s, chance, g, r, n, on = outcomes(env, policy, p)
    v = values(p, policy_table(policy, p), 1.0)[0] * critic  # [H+1, S]
    size, wide = len(p.start), g.shape[1]
    psi, psi2, square = (torch.zeros(size, dtype=torch.float64) for _ in range(3))
    x, x_psi = (torch.zeros(size, wide, dtype=torch.float64) for _ in range(2))
    for h in reversed(range(p.horizon)):
        delta = r + on * v[h + 1][n] - v[h][s]
        w1, w2 = lam * on * psi[n], lam**2 * on * psi2[n]  # E λΨ', E (λΨ')²
        x1, xw = on[:, None] * x[n], lam * on[:, None] * x_psi[n]  # E X', E X'λΨ'
        first, second = delta + w1, delta.square() + 2 * delta * w1 + w2  # E Ψ, E Ψ²
        both = delta[:, None] * x1 + xw  # E X'Ψ
        terms = (
            first,
            second,
            g.square().sum(1) * second + 2 * (g * both).sum(1) + on * square[n],
            g * first[:, None] + x1,
            g * second[:, None] + both,
        )
        weights = [chance if t.dim() == 1 else chance[:, None] for t in terms]
        fresh = [torch.zeros(size, *t.shape[1:], dtype=torch.float64) for t in terms]
        psi, psi2, square, x, x_psi = (
            new.index_add_(0, s, w * t) for new, w, t in zip(fresh, weights, terms, strict=True)
        )
    return float(p.start @ square)


def variances(env, policy: Policy, p: Problem, batch: int) -> dict[str, float]:
    """E‖ĝ − Eĝ‖² of the mean of ``batch`` episodes, γ = 1. optimal_baseline: of a b*
    known beforehand, which is less than

    the cross-fitted one has, whose b* is estimated.
    """
    m = whole_return(env, policy, p)
    slope, j = (
        float(gradient(policy, p, 1.0).double().square().sum()),
        float(objective(p, policy_table(policy, p), 1.0)),
    )
    spread = m["r2"] - m["r1"] ** 2
    about_mean = m["b2"] - 2 * j * m["b1"] + j**2 * m["b0"] - slope
    others = (m["b0"] * spread + slope) / (batch - 1)
    best = m["b1"] / m["b0"]
    alone = {
        "none": m["b2"] - slope,
        "reward_to_go": weighted(env, policy, p, 1.0, False) - slope,
        "mean_baseline": (about_mean + others) * ((batch - 1) / batch) ** 2,
        "leave_one_out": about_mean + others,
        "optimal_baseline": m["b2"] - best * m["b1"] - slope,
        "value_baseline": weighted(env, policy, p, 1.0, True) - slope,
        "td0": weighted(env, policy, p, 0.0, True) - slope,
        "gae": weighted(env, policy, p, 0.95, True) - slope,
    }
    return {name: value / batch for name, value in alone.items()}
