from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Lines, Series
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict

EXPECTED = {
    "automatic differentiation is on": Expected(0.0),
    "rewards that are Python floats from a table": Expected(1.0),
    "exact return of the last policy": Expected(low=0.95, high=1.0),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import gymnasium as gym
    import torch

    import pgrun.envs.problems.registration  # noqa: F401

    job = commands[0][0]
    table = gym.make("pgrun/RandomWalk-v0", disable_env_checker=True).unwrapped.P  # type: ignore[attr-defined]
    rewards = [
        reward
        for by_action in table.values()
        for outcomes in by_action.values()
        for _, _, reward, _ in outcomes
    ]
    steps, learned = job.metrics["env_steps"], job.metrics["return/train"]
    there = learned == learned
    measured = {
        "automatic differentiation is on": Measured(float(torch.is_grad_enabled())),
        "rewards that are Python floats from a table": Measured(
            float(all(type(r) is float for r in rewards))
        ),
        "exact return of the last policy": Measured(float(job.result["eval"]["return_mean"])),
    }
    return Finding(
        measured,
        [("what", "value"), *((label, f"{m.value:.3g}") for label, m in measured.items())],
        (
            Lines(
                "Return while learning",
                "environment steps",
                (Series("return/train", steps[there].tolist(), learned[there].tolist()),),
            ),
        ),
        Verdict.SUPPORTED if measured["exact return of the last policy"].value > 0.95 else Verdict.REFUTED,
        "the rewards are entries of a table that only the environment reads, automatic differentiation is "
        f"switched off, and REINFORCE goes from a return of {learned[there][0]:.2f} to "
        f"{measured['exact return of the last policy'].value:.2f}: only log π is differentiated, by a closed "
        "form.",
    )


EXPERIMENT = Experiment(
    name="no_model",
    group="variance",
    row=0,
    claim="REINFORCE needs no model of the environment and no reward that can be differentiated.",
    chinese="Model "
    "free：不需要知道环境是怎么运作的；奖励不需要可导：完全不需要对奖励求导，只需要采样累计回报就可以了",
    english="Model-free: there is no need to know how the environment works. The reward need not be "
    "differentiable: it is never differentiated, and it is enough to sample the cumulative return.",
    place="C L43–46",
    formula="∇J = E[r(τ) Σₜ ∇log π(aₜ|sₜ)]: neither p(s'|s, a) nor ∇r stands in it",
    commands=(
        "pgrun algo=reinforce env=pgrun/RandomWalk-v0 network.hidden=[] network.bias=false "
        "advantage_norm=false optimizer.lr=0.05 trainer.total_steps=10000 trainer.eval_every=null",
    ),
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="A walk to the right earns 1, one to the left nothing; the policy is a table that starts "
    "undecided. The proof that the mean of its gradient is ∇J is in `pgrun-lab expected_score` and what "
    "follows.",
    next="env=pgrun/Table-v0 env.kwargs.file=my.yaml: a table of your own.",
    seconds=5,
    fast=True,
)
