from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows

MU, SIGMA = 0.7, 0.5
SLACK = 1e-5  # the floor of 1e-6 in the variance, of which draws know nothing, is 4e-6 of σ²
EXPECTED = {
    "∂J/∂μ, one matrix for both steps": Expected(2 * MU, slack=SLACK),
    "E[R Σ ∇log π], one matrix for both steps": Expected(4 * MU, slack=2 * SLACK),
    "∂J/∂μ, a matrix a step": Expected(2 * MU, slack=SLACK),
    "E[R Σ ∇log π], a matrix a step": Expected(2 * MU, slack=SLACK),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import math

    import numpy as np
    import torch

    from pgrun.policies.gsde import GsdeGaussian

    dist = GsdeGaussian(1, None, True, features=1)
    points, weights = np.polynomial.hermite_e.hermegauss(8)  # exact for polynomials of degree 15
    z, w = torch.from_numpy(points), torch.from_numpy(weights / weights.sum())
    params = torch.tensor([MU, 1.0, math.log(SIGMA)], dtype=torch.float64)  # μ, φ, log σ

    def act(noise: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = dist.act(params.expand(*noise.shape, 3), noise[..., None])
        return action

    first, second = act(z)[:, None], act(z)[None]  # two steps in the same state
    score = dist.score(params.expand(len(z), 3), act(z))[:, 0]
    both = w[:, None] * w[None]
    reward = (first * second)[..., 0]
    own = float((both * reward * (score[:, None] + score[None])).sum())
    held = float((w * act(z)[:, 0] ** 2 * 2 * score).sum())
    # ∂a/∂μ = 1 for both steps, so that ∂(a₁a₂)/∂μ = a₁ + a₂
    exact_held = float((w * 2 * act(z)[:, 0]).sum())
    exact_own = float((both * (first + second)[..., 0]).sum())
    numbers = (exact_held, held, exact_own, own)
    outcomes = {label: Measured(x) for label, x in zip(EXPECTED, numbers, strict=True)}
    biased = abs(held - exact_held) > 0.1
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars(
                "Gradient by μ",
                "of E[a₁a₂]",
                [
                    Bar("one matrix for both steps", held, exact=exact_held),
                    Bar("a matrix a step", own, exact=exact_own),
                ],
            ),
        ),
        Verdict.REFUTED if biased else Verdict.SUPPORTED,
        f"with one matrix for both steps the estimator's mean is {held:.3g}, and ∇J is {exact_held:.3g}: the "
        "first action tells the noise of the second, whose score then has no mean of 0. With a matrix for "
        f"each step it is {own:.3g}, unbiased.",
    )


EXPERIMENT = Experiment(
    name="held_noise",
    group="tricks",
    row=40,
    claim="State-dependent exploration changes only the noise: the gradient stays unbiased.",
    chinese="",
    place="Raffin et al. 2021, §4",
    formula="a = μ + φᵀE,  R = a₁a₂:   J = μ² + σ²,  ∂J/∂μ = 2μ;   E[R Σ ∂log π/∂μ] = 4μ with one E,  2μ "
    "with one a step",
    commands=(),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="Two steps in one state, by quadrature over the noise. A2C, PPO and TRPO live with it: an "
    "advantage that credits each step for itself alone does not see it.",
    next="policy=gsde policy.sample_freq=1: the page on policies.",
    seconds=1,
    fast=True,
)
