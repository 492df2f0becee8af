from __future__ import annotations

from collections.abc import Sequence

from pgrun.presentation.panels import Bar, Bars
from pgrun.tools.lab.commands import JobResult
from pgrun.tools.lab.experiment import Expected, Experiment, Finding, Measured, Verdict
from pgrun.tools.lab.language_model import cosine_similarity, make_model
from pgrun.tools.lab.tables import outcome_rows

EXPECTED = {
    "Ψ = 1 on the expert's data, less −∇KL": Expected(0.0, slack=1e-10),
    "Ψ = 1 on one's own data": Expected(0.0, slack=1e-10),
    "Ψ = 1 on the expert's data, as the expert": Expected(0.0, slack=1e-10),
    "cosine of it and ∇J": Expected(low=-1.0, high=0.9),
}


def read(commands: Sequence[Sequence[JobResult]]) -> Finding:
    import torch

    from pgrun.exact import network_inputs, policy_table, state_visits

    expert, learner = (make_model(logits, words=2, length=3, prompts=2, seed=1) for logits in (1, 2))
    p, rows = expert.problem, expert.every.rollout
    often = (expert.every.probability * rows.mask).flatten()

    def cloned(policy: object) -> torch.Tensor:
        """Σ_τ P_expert(τ) Σₜ ∇log π(aₜ|sₜ): Ψ = 1 [P]"""
        obs, action = rows.obs[:-1].flatten(0, 1), rows.action.flatten()
        return policy.scores(obs, action).sums(often, 1)[0]  # type: ignore[attr-defined, no-any-return]

    pi_expert, policy = policy_table(expert.policy, p), learner.policy
    visits = state_visits(p, pi_expert).sum(0)
    inputs = network_inputs(policy, p)
    with torch.enable_grad():
        theta = policy.theta.clone().requires_grad_()
        log_pi = policy.with_theta(theta).params(inputs).log_softmax(-1)
        kl = (visits[:, None] * pi_expert * (pi_expert.log() - log_pi)).sum()
        (slope,) = torch.autograd.grad(kl, theta)
    imitated, own = cloned(policy), learner.every
    mine = (own.probability * own.rollout.mask).flatten()
    obs, action = own.rollout.obs[:-1].flatten(0, 1), own.rollout.action.flatten()
    numbers = (
        float((imitated + slope).norm() / slope.norm()),
        float(policy.scores(obs, action).sums(mine, 1)[0].norm()),
        float(cloned(expert.policy).norm()),
        cosine_similarity(imitated, learner.gradient()),
    )
    outcomes = {label: Measured(x) for label, x in zip(EXPECTED, numbers, strict=True)}
    j = [float(model.every.probability @ model.returns) for model in (learner, expert)]
    return Finding(
        outcomes,
        outcome_rows(outcomes, EXPECTED),
        (Bars("J of the two", "mean return", [Bar("the learner", j[0]), Bar("the expert", j[1])]),),
        Verdict.SUPPORTED if max(numbers[:3]) < 1e-10 else Verdict.REFUTED,
        "Ψ = 1 on given data is the descent of KL(expert‖π) in the expert's states, and comes to rest at the "
        f"expert, good or bad; its cosine with ∇J is {numbers[3]:.2f} here. On one's own data the same "
        "weight has mean 0: all that imitation learns, it learns from whose data it is.",
    )


EXPERIMENT = Experiment(
    name="cloning",
    group="off_policy",
    row=26,
    claim="Behaviour cloning is the policy gradient with Ψ = 1 on an expert's episodes.",
    place="Pomerleau 1989; Ross et al. 2011, §2",
    formula="E_expert Σₜ ∇log π(aₜ|sₜ) = −∇ Σ_s d_expert(s) KL(expert(·|s)‖π(·|s));   E_π Σₜ ∇log π = 0",
    read=read,
    expected=EXPECTED,
    verdict=Verdict.SUPPORTED,
    shows="All episodes of two policies on a tabular language model. No reward enters: the expert's are the "
    "only answers there are.",
    next="algo.weights of off_policy_pg: what weighs given data by reward and by how likely it still is.",
    seconds=3,
    fast=True,
)
