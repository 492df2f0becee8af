from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult, only_result
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.tables import outcome_rows

SCHEMES = {"all_actions": "all actions", "action_baseline": "Q as a baseline, given back"}
EXPECTED = {
    "all actions, bias ÷ ‖∇J‖": Expected(low=0.05),
    "Q as a baseline, given back, bias along ∇J ÷ ‖∇J‖": Expected(0.0),
    "all actions, variance ÷ reward_to_go's": Expected(high=0.2),
    "Q as a baseline, given back, variance ÷ reward_to_go's": Expected(high=0.8),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    result = only_result(commands[0]).result
    size, by = result["reference_norm"], result["schemes"]
    every, given_back, plain = (by[name] for name in (*SCHEMES, "reward_to_go"))
    numbers = (
        Measured(every["bias_norm"] / size, every["bias_noise"] / size),
        Measured(given_back["bias_along"] / size, given_back["bias_se"] / size),
        *(Measured(one["variance"] / plain["variance"]) for one in (every, given_back)),
    )
    outcomes = dict(zip(EXPECTED, numbers, strict=True))
    biased = numbers[0].value > 4 * numbers[0].se
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (
            Bars("Variance", "of ∇J", [Bar(label, by[key]["variance"]) for key, label in SCHEMES.items()]),
            Bars("Bias", "‖E ĝ − ∇J‖", [Bar(label, by[key]["bias_norm"]) for key, label in SCHEMES.items()]),
        ),
        Verdict.DEPENDS if biased else Verdict.SUPPORTED,
        f"the sum over all actions has {numbers[2].value:.2f} of the variance of rewards to go, and a bias "
        f"of {numbers[0]} of ‖∇J‖, which no number of episodes takes away; the same Q as a baseline that is "
        f"given back has {numbers[3].value:.2f} of the variance and no bias.",
    )


EXPERIMENT = Experiment(
    name="all_actions_fitted",
    group="critics",
    row=19,
    claim="With a fitted Q the sum over all actions is the better gradient: it draws no action.",
    place="Asadi et al. 2017; Ciosek & Whiteson 2020",
    formula="E ĝ − ∇J = Σₜ E Σ_a (Q_φ(sₜ, a) − Q(sₜ, a))∇π(a|sₜ)",
    commands=(
        "pgrun-study env=pgrun/TokenTree-v0 gamma=1 policy.ascent=0.5 critic=fitted_q critic_episodes=100 "
        "'schemes=[reward_to_go,all_actions,action_baseline]' episodes=20000 batch=4",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.DEPENDS,
    shows="∇J is exact, from the transition table. Q_φ is fitted to 100 episodes of its own.",
    next="critic_episodes=10 and 10000: the bias goes with Q's error, the variance hardly. batch=400: then "
    "the bias is what is left of the error.",
    seconds=15,
)
