from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import make_model
from pgrun.tools.lab.tables import outcome_rows

GAMMA, DRAWS, FREE = 0.9, 50, 1e9
EXPECTED = {
    "Retrace: ‖RQ − Q‖ at Q of π": Expected(0.0, slack=1e-10),
    "Retrace: the same at Q of μ": Expected(low=0.01),
    "Retrace: ‖RQ − Q^π‖ ÷ ‖Q − Q^π‖, the largest of 50": Expected(high=GAMMA),
    "traces of 1, no ratios: the largest of 50": Expected(low=GAMMA),
    "traces of ρ, not capped: ‖RQ − Q^π‖ of any Q": Expected(0.0, slack=1e-10),
    "V-trace, ρ̄ = 1: ‖RV − V‖ at V of π_ρ̄": Expected(0.0, slack=1e-10),
    "V-trace, ρ̄ = 1: the same at V of π": Expected(low=0.01),
    "V-trace, ρ̄ = ∞: the same at V of π": Expected(0.0, slack=1e-10),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import torch

    from pgrun.exact import Problem, policy_table
    from pgrun.returns import retrace_errors, v_trace_errors

    behaviour, target = (make_model(logits, words=2, length=3, prompts=2, seed=1) for logits in (1, 2))
    p, rows = behaviour.problem, behaviour.every.rollout
    mu, pi = policy_table(behaviour.policy, p), policy_table(target.policy, p)
    assert rows.state is not None
    state, after, goes_on = rows.state[:-1], rows.state[1:], 1 - rows.terminated
    ratio = torch.where(rows.mask > 0, (pi / mu)[state, rows.action], 1.0)
    chance = rows.mask * behaviour.every.probability
    states, actions = pi.shape

    def state_values(policy: torch.Tensor, p: Problem) -> tuple[torch.Tensor, torch.Tensor]:
        """(V [S], Q [S, A]): a state has one time here."""
        q = p.reward.clone()
        for _ in range(p.horizon):
            q = p.reward + GAMMA * p.transition @ (policy * q).sum(-1)
        return (policy * q).sum(-1), q

    def mean_of(x: torch.Tensor, cell: torch.Tensor, cells: int) -> torch.Tensor:
        """E_μ[x | cell]; 0 where μ never is."""
        sums = [
            torch.zeros(cells).double().index_add(0, cell.flatten(), y.flatten())
            for y in (chance * x, chance)
        ]
        return sums[0] / sums[1].clamp(min=1e-300)

    def corrections(q: torch.Tensor, given: torch.Tensor, cap: float) -> torch.Tensor:
        """RQ − Q [S, A] of Retrace(1)."""
        v = (pi * q).sum(-1)
        delta = rows.mask * (rows.reward + GAMMA * goes_on * v[after] - q[state, rows.action])
        x = retrace_errors(delta, given, GAMMA, 1.0, cap)
        return mean_of(x, state * actions + rows.action, q.numel()).view(q.shape)

    def v_trace_moves(v: torch.Tensor, cap: float) -> torch.Tensor:
        """RV − V [S]"""
        delta = rows.mask * (rows.reward + GAMMA * goes_on * v[after] - v[state])
        return mean_of(v_trace_errors(delta, ratio, GAMMA, cap, 1.0, 1.0)[0], state, states)

    def largest(x: torch.Tensor) -> float:
        return float(x.abs().max())

    (v_pi, q_pi), (_, q_mu) = state_values(pi, p), state_values(mu, p)
    capped = torch.minimum(mu, pi)
    v_capped, _ = state_values(capped / capped.sum(-1, keepdim=True), p)
    draw = torch.Generator().manual_seed(0)
    wrong = torch.randn(DRAWS, *q_pi.shape, generator=draw, dtype=torch.float64)
    visited = (
        mean_of(torch.ones_like(chance), state * actions + rows.action, q_pi.numel()).view(q_pi.shape) > 0
    )

    def shares_with(given: torch.Tensor) -> list[float]:
        """‖RQ − Q^π‖ ÷ ‖Q − Q^π‖ of many Q."""
        return [
            largest((q + corrections(q, given, 1.0) - q_pi)[visited]) / largest(q - q_pi)
            for q in q_pi + wrong
        ]

    q = q_pi + wrong[0]
    numbers = (
        largest(corrections(q_pi, ratio, 1.0)),
        largest(corrections(q_mu, ratio, 1.0)),
        max(shares_with(ratio)),
        max(shares_with(torch.ones_like(ratio))),
        largest(((q + corrections(q, ratio, FREE)) - q_pi)[visited]),
        largest(v_trace_moves(v_capped, 1.0)),
        largest(v_trace_moves(v_pi, 1.0)),
        largest(v_trace_moves(v_pi, FREE)),
    )
    outcomes = {label: Measured(x) for label, x in zip(EXPECTED, numbers, strict=True)}
    right = max(numbers[0], numbers[4], numbers[5], numbers[7]) < 1e-10 and numbers[2] <= GAMMA
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars(
                "How far one step leads away from the values of π",
                "largest change",
                [
                    Bar("Retrace", numbers[0]),
                    Bar("V-trace, ρ̄ = 1", numbers[6]),
                    Bar("V-trace, ρ̄ = ∞", numbers[7]),
                ],
            ),
        ),
        Verdict.DEPENDS if right else Verdict.REFUTED,
        f"Retrace rests at Q of π, and takes every Q to {numbers[2]:.2f} of its distance or less in a step; "
        f"traces of 1 leave up to {numbers[3]:.2f} of it. V-trace with ρ̄ = 1 rests at the values of another "
        f"policy, π_ρ̄ ∝ min(μ, π), and moves away from those of π by {numbers[6]:.2g}; without that cap it "
        "rests at those of π.",
    )


EXPERIMENT = Experiment(
    name="traces",
    group="off_policy",
    row=27,
    claim="Capped traces make old data safe: what they converge to are the values of the present policy.",
    chinese="",
    place="Munos et al. 2016, theorem 1; Espeholt et al. 2018, remark 1",
    formula="RQ = Q + E_μ Σₜ γᵗ(∏ c)δₜ,  c = λ min(1, ρ):   RQ^π = Q^π,   ‖RQ − Q^π‖ ≤ γ‖Q − Q^π‖;   V-trace "
    "rests at V of π_ρ̄ ∝ min(ρ̄μ, π)",
    commands=(),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="All episodes of one tabular language model's policy, and the values of another's. A cap on the "
    "traces costs nothing but speed; a cap on the first ratio, V-trace's, moves the point of rest.",
    next="algo=off_policy_pg algo.weights=retrace or v_trace; algo.rho_bar and algo.c_bar are the caps.",
    seconds=4,
    fast=True,
)
