from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import cosine_similarity, make_model
from pgrun.tools.lab.tables import outcome_rows

if TYPE_CHECKING:
    from torch import Tensor

EXPECTED = {
    "compatible features: error of the gradient": Expected(0.0, slack=1e-8),
    "compatible features: error of Q": Expected(low=0.2),
    "as many other features: error of the gradient": Expected(low=0.1),
    "cosine of w and F⁻¹g": Expected(1.0, slack=1e-8),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import torch

    from pgrun.exact import fisher, gradient, policy_table, state_visits, values, weighted_scores
    from pgrun.policies.mlp import Mlp
    from pgrun.policies.policy import Policy

    model = make_model(words=2, length=3, prompts=2, seed=1)
    p, (states, actions) = model.problem, model.problem.reward.shape
    draw = torch.Generator().manual_seed(3)
    net = Mlp([states, 1, actions], bias=False)  # fewer parameters than states × actions
    theta = torch.randn(net.size, generator=draw, dtype=torch.float64)
    policy = Policy(net, model.policy.dist, theta, model.policy.normaliser)
    pi, g = policy_table(policy, p), gradient(policy, p, 1.0)
    visits = state_visits(p, pi)
    q = (visits[..., None] * values(p, pi, 1.0)[1]).sum(0) / visits.sum(0)[:, None].clamp(min=1e-300)
    weight = (visits.sum(0)[:, None] * pi).flatten()  # of each pair (s, a)
    scores = score_table(policy, states, actions)
    others = torch.randn(scores.shape, generator=draw, dtype=torch.float64)

    def gradient_with(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(w, f_w [S, A], the gradient with f_w in the place of Q)"""
        root = weight.sqrt()[:, None]
        w = torch.linalg.lstsq(root * features, root * q.flatten()[:, None], driver="gelsd").solution[:, 0]
        fitted = (features @ w).view(states, actions)
        return w, fitted, weighted_scores(policy, p, 1.0, visits, fitted.expand(p.horizon, -1, -1))

    w, fitted, compatible = gradient_with(scores)
    mean = (pi * q).sum(1, keepdim=True)
    missed = ((weight * (fitted - (q - mean)).flatten().square()).sum() / weight.sum()).sqrt()
    spread = ((weight * (q - mean).flatten().square()).sum() / weight.sum()).sqrt()
    natural = torch.linalg.pinv(fisher(policy, p), rtol=1e-10, hermitian=True) @ g
    off = [float((x - g).norm() / g.norm()) for x in (compatible, gradient_with(others)[2])]
    numbers = (off[0], float(missed / spread), off[1], cosine_similarity(w, natural))
    outcomes = {label: Measured(x) for label, x in zip(EXPECTED, numbers, strict=True)}
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "of its own size"),
        (
            Bars(
                "Error of the gradient",
                "‖g(f) − ∇J‖/‖∇J‖",
                [Bar("compatible", off[0]), Bar("others", off[1])],
            ),
        ),
        Verdict.SUPPORTED if off[0] < 1e-8 < 0.1 < off[1] else Verdict.REFUTED,
        f"a fit of {scores.shape[1]} scores misses {numbers[1]:.2f} of Q − V, and the gradient with it is "
        f"exact; a fit of as many other features is off by {off[1]:.2f} of it. The weights of the fit are "
        "the natural gradient: actor and critic are one vector.",
    )


def score_table(policy: object, states: int, actions: int) -> Tensor:
    """∇log π(a|s) of every pair [S·A, P]."""
    import torch

    from pgrun.policies.policy import Policy

    assert isinstance(policy, Policy)
    obs = torch.eye(states, dtype=torch.float64).repeat_interleave(actions, 0)
    action = torch.arange(actions).repeat(states)
    return policy.scores(obs, action).sums(torch.ones(len(obs), dtype=torch.float64), len(obs))


EXPERIMENT = Experiment(
    name="compatible",
    group="natural",
    row=32,
    claim="A wrong Q gives the exact gradient where it is a least-squares fit of the scores.",
    place="Sutton et al. 2000, theorem 2; Kakade 2002, theorem 1",
    formula="f_w(s, a) = wᵀ∇log π(a|s),   w = argmin E(Q − f_w)² = F⁻¹g,   E f_w∇log π = E Q∇log π",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="All states and actions of a tabular language model, under a network with one hidden unit: fewer "
    "parameters than pairs, so that no fit is right.",
    next="algo=npg, which is a step along w without ever naming it.",
    seconds=3,
    fast=True,
)
