from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows
from pgrun.tools.lab.units import error_in_theta

LAMBDAS = (0, 0.5, 0.8, 0.9, 0.95, 0.99, 1)
HIGH = dict(zip(LAMBDAS, (325, 272, 181, 125, 105, 140, 175), strict=True))  # mean squared errors, V̂ = 1.2 V
CRITICS = {"1.2": "20 % high", "1": "exact", "0": "0 everywhere"}
EXPECTED = {f"critic 20 % high, λ = {lam:g}": Expected(mse, slack=0.5) for lam, mse in HIGH.items()} | {
    "best λ, critic 20 % high": Expected(0.95),
    "best λ, critic exact": Expected(0.0),
    "best λ, critic 0 everywhere": Expected(0.99),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    errors = {CRITICS[job.words["critic.factor"]]: of(job) for job in commands[0]}
    best = {label: least(ms) for label, ms in errors.items()}
    outcomes = {f"critic 20 % high, λ = {lam:g}": m for lam, m in errors["20 % high"].items()}
    outcomes |= {f"best λ, critic {label}": Measured(lam) for label, lam in best.items()}
    series = [
        Series(f"critic {label}", LAMBDAS, [m.value for m in ms.values()], [m.se for m in ms.values()])
        for label, ms in errors.items()
    ]
    everywhere = all(lam == 0.95 for lam in best.values())
    somewhere = any(lam == 0.95 for lam in best.values())
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (Lines("Mean squared error (100 episodes)", "λ", series, log_y=True),),
        Verdict.SUPPORTED if everywhere else Verdict.DEPENDS if somewhere else Verdict.REFUTED,
        f"with a critic that is 20 % high λ = {best['20 % high']:g} is best (error "
        f"{errors['20 % high'][0.95].value:.0f}, against {errors['20 % high'][0].value:.0f} at λ = 0 and "
        f"{errors['20 % high'][1].value:.0f} at λ = 1); with the exact critic λ = {best['exact']:g}, with "
        f"one that knows nothing λ = {best['0 everywhere']:g}. What balances depends on how wrong the "
        "critic is and on how many episodes there are.",
    )


def least(errors: dict[float, Measured]) -> float:
    return min(errors, key=lambda lam: errors[lam].value)


def of(job: JobResult) -> dict[float, Measured]:
    entries = job.result["schemes"]
    return {
        lam: error_in_theta(entries["gae" if lam == 0.95 else f"gae lam={lam:g}"], 0.9) for lam in LAMBDAS
    }


EXPERIMENT = Experiment(
    name="lambda_balance",
    group="critics",
    row=12,
    claim="λ = 0.95 balances bias and variance well.",
    chinese="λ = 0: 变回 TD(0)，方差最小，偏差最大。λ = 1: 变回 Monte Carlo，无偏，方差最大。通常取 λ = "
    "0.95，在两者之间取得很好的平衡。",
    english="λ = 0: it becomes TD(0) again, with the least variance and the largest bias. λ = 1: it becomes "
    "Monte Carlo again, unbiased, with the largest variance. Usually λ = 0.95 is taken, which strikes a "
    "good balance between the two.",
    place="C L119–128",
    formula="GAE(λ) = Σₖ (γλ)ᵏ δₜ₊ₖ;   MSE = bias² + variance/N,   bias = D(1 − λ)/((1 − θ)(1 − λθ)) on "
    "OneState",
    commands=(
        "pgrun-study -m env=pgrun/OneState-v0 env.kwargs.theta=0.9 env.max_episode_steps=400 gamma=1 "
        "critic=scaled critic.factor=1.2,1,0 'schemes=[{gae:{lam:0}},{gae:{lam:0.5}},{gae:{lam:0.8}},"
        "{gae:{lam:0.9}},gae,{gae:{lam:0.99}},{gae:{lam:1}}]' batch=100 episodes=60000 env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="Three curves for three critics, from the same episodes. The better the critic, the further left "
    "the best λ. 0.95 is a good guess for a critic that is mostly right.",
    next="batch=10 and batch=1000 in the command: with little data variance counts for more, and the best λ "
    "moves to the left.",
    seconds=40,
)
