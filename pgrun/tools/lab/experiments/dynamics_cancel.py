from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

if TYPE_CHECKING:
    import numpy as np

    from pgrun.envs.problems.teaching import Table

STEPS = 5
WHOLE, CONTROL = "largest relative difference", "the same with p(s'|s, a) squared in one of them"


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import gymnasium as gym
    import numpy as np

    import pgrun.envs.problems.registration  # noqa: F401

    table = gym.make("pgrun/SmallMDP-v0", disable_env_checker=True).unwrapped.P  # type: ignore[attr-defined]
    draw = np.random.default_rng(0)
    new, old = (draw.dirichlet(np.ones(len(table[0])), len(table)) for _ in range(2))
    ratios = np.array(list(paths(table, new, old, 0, STEPS, (1.0, 1.0, 1.0, 1.0))))  # [K, 4]
    whole, actions, squared = ratios[:, 0] / ratios[:, 1], ratios[:, 2], ratios[:, 3] / ratios[:, 1]
    outcomes = {
        WHOLE: Measured(float(abs(whole / actions - 1).max())),
        CONTROL: Measured(float(abs(squared / actions - 1).max())),
    }
    equal = outcomes[WHOLE].value < 1e-12
    some = slice(None, None, max(1, len(ratios) // 300))
    return Finding(
        outcomes,
        [
            ("over all trajectories", "value"),
            *((label, f"{m.value:.2g}") for label, m in outcomes.items()),
            ("trajectories", str(len(ratios))),
        ],
        (
            Lines(
                "Weight of a trajectory, two ways",
                "∏ π'(a|s)/π(a|s), of the policies alone",
                (
                    Series(
                        "p'(τ)/p(τ), dynamics and all",
                        actions[some].tolist(),
                        whole[some].tolist(),
                        points=True,
                    ),
                ),
                log_x=True,
                log_y=True,
            ),
        ),
        Verdict.SUPPORTED if equal else Verdict.REFUTED,
        f"over all {len(ratios):,} trajectories of {STEPS} steps of a random problem the ratio of whole "
        f"probabilities and the product of the policies' ratios differ by {outcomes[WHOLE].value:.0e} at "
        "most: nobody needs to know the dynamics.",
    )


def paths(
    table: Table, new: np.ndarray, old: np.ndarray, state: int, left: int, so_far: tuple[float, ...]
) -> Iterator[tuple[float, ...]]:
    """(p'(τ), p(τ), ∏ρ, p'(τ) with the dynamics squared) of every trajectory."""
    if not left:
        yield so_far
        return
    for a, outcomes in table[state].items():
        for chance, successor, _, ends in outcomes:
            rho = new[state, a] / old[state, a]
            factors = (new[state, a] * chance, old[state, a] * chance, rho, new[state, a] * chance**2)
            now = tuple(x * y for x, y in zip(so_far, factors, strict=True))
            yield from [now] if ends else paths(table, new, old, successor, left - 1, now)


EXPERIMENT = Experiment(
    name="dynamics_cancel",
    group="off_policy",
    row=23,
    claim="In the ratio of two trajectories' probabilities the dynamics cancel: the policies are enough.",
    chinese="初始状态概率 p(s₁)：上下都有，消掉 …… 环境转移概率 "
    "p(s'|s,a)：客观世界规律不随你的策略改变，上下都有，消掉",
    english="The probability of the initial state p(s₁): above and below, cancels … the transition "
    "probability of the environment p(s'|s,a): the laws of the outside world do not change with your "
    "policy; above and below, cancels.",
    place="A L158–178; C L218–223",
    formula="p'(τ)/p(τ) = p(s₁)∏π'(aₜ|sₜ)p(sₜ₊₁|sₜ,aₜ) / p(s₁)∏π(aₜ|sₜ)p(sₜ₊₁|sₜ,aₜ) = ∏ π'(aₜ|sₜ)/π(aₜ|sₜ)",
    read=read,
    expected={WHOLE: Expected(0.0, slack=1e-12), CONTROL: Expected(low=0.5)},
    verdict=Verdict.SUPPORTED,
    shows="Counted, not sampled. In the second row the dynamics stand in one of the two in another way, and "
    "nothing cancels: the negative control.",
    next="`pgrun-lab products` for what those products do when an episode is long.",
    seconds=2,
    fast=True,
)
