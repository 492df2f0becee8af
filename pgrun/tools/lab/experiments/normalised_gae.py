from __future__ import annotations

from collections.abc import Callable, Sequence

from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_bars, outcome_rows
from pgrun.tools.lab.units import episode_variance

T = 10
NAMES = {"gae lam=1": "Monte Carlo (GAE, λ = 1)", "gae lam=1 normalised=true": "normalised form, λ = 1"}


def quadratic(weight: Callable[[int, int], float]) -> float:
    """Var Σₜ gₜΨₜ for Ψₜ = Σⱼ w(j, K)εₜ₊ⱼ, K = T − t steps left and ε = ±½
    independent: Σ_{j>0} w²/8 for two logits.
    """
    return sum(weight(j, T - t) ** 2 for t in range(T) for j in range(1, T - t)) / 8


EXPECTED = {
    "Monte Carlo (GAE, λ = 1)": Expected(quadratic(lambda j, k: 1.0)),
    "normalised form, λ = 1": Expected(quadratic(lambda j, k: 1 - j / k)),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    result = commands[0][0].result
    outcomes: dict[str, Measured] = {
        label: episode_variance(result["schemes"][name], result["batch"]) for name, label in NAMES.items()
    }
    mc, average = outcomes.values()
    apart = abs(mc.value - average.value) > 4 * (mc.se + average.se)
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED, "variance of one episode's gradient"),
        (outcome_bars("Variance of one episode's gradient", "variance", outcomes, EXPECTED, list(EXPECTED)),),
        Verdict.REFUTED if apart else Verdict.SUPPORTED,
        "the weighted mean with its weights divided by their sum is at λ = 1 the plain average of all "
        f"n-step advantages: variance {average.value:.2f}, where Monte Carlo has {mc.value:.2f}. It is the "
        "other form, Σ(γλ)ᵏδ, that is Monte Carlo at λ = 1.",
    )


EXPERIMENT = Experiment(
    name="normalised_gae",
    group="critics",
    row=13,
    claim="GAE as the weighted mean Σ wₖÂ⁽ᵏ⁾/Σ wₖ, wₖ = λᵏ⁻¹, is Monte Carlo at λ = 1.",
    chinese="相当于 GAE 用指数衰减把未来一串 TD 误差累计起来。当 λ = 0，即等价于 1-step TD，当 λ = "
    "1，即等价于 MC。",
    english="In effect GAE accumulates a string of future TD errors with exponential decay. With λ = 0 it "
    "is equivalent to one-step TD, and with λ = 1 to Monte Carlo.",
    place="C L291–300",
    formula="λ = 1:   Σₖ Â⁽ᵏ⁾/K = Σⱼ (1 − j/K) δₜ₊ⱼ,   j = 0 … K − 1;   Monte Carlo: Σⱼ δₜ₊ⱼ",
    commands=(
        "pgrun-study env=pgrun/FixedHorizon-v0 env.kwargs.T=10 gamma=1 policy.theta=0.5 critic=exact "
        "'schemes=[{gae:{lam:1}},{gae:{lam:1,normalised:true}}]' batch=1 episodes=20000 env.num_envs=256",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.REFUTED,
    shows="Both are unbiased here, with the exact critic. The two forms agree where the steps left are many "
    "beside 1/(1 − λ): the slip shows at λ = 1 and near the end of a rollout.",
    next="{gae:{lam:0.9}} beside {gae:{lam:0.9,normalised:true}} with env.kwargs.T=50.",
    seconds=4,
    fast=True,
)
