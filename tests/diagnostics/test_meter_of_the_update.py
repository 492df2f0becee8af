"""The meter reads the gradient of the update that is made, whatever weighs its rows: beside updates with the
whole rollout and without each of its episodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pgrun.algorithms.a2c import A2c
from pgrun.algorithms.retrace import correct_action_values, renew_state_values
from pgrun.diagnostics.gradient_variance import jackknife
from pgrun.training.build import Run
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout, make_batch
from pgrun.types import Batch, Rollout
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import built

EPISODES = 5
STEP_IS_GRADIENT = ("optimizer=sgd", "optimizer.lr=1.0", "optimizer.max_grad_norm=null")
ONE_STEP = ("tuned=none", f"sampler.episodes={EPISODES}", *STEP_IS_GRADIENT)
V_TRACE = (
    "algo=off_policy_pg",
    "algo.weights=v_trace",
    "variance=td0",
    "algo.reuses=1",
    "advantage_norm=none",
)
RETRACE = ("algo=off_policy_pg", "algo.weights=retrace", "variance=advantage", "critic=fitted_q")
TRAJECTORY = ("algo=off_policy_pg", "algo.weights=trajectory", "algo.reuses=1")
ONE_PASS = ("sampler=episodes", "algo.epochs=1", "algo.minibatches=1")
CASES = {
    "v_trace": V_TRACE,
    "v_trace, capped": (*V_TRACE, "algo.rho_bar=0.7", "algo.c_bar=0.4", "algo.lam=0.9"),
    "v_trace, V a head of the policy's network": (*V_TRACE, "network=shared", "critic.coef=0"),
    "retrace": (*RETRACE, "algo.reuses=1", "advantage_norm=none"),
    "truncated": (*TRAJECTORY, "algo.truncate=0.5"),
    "state_ratio": ("algo=off_policy_pg", "algo.weights=state_ratio", "algo.reuses=1", "env=FrozenLake-v1"),
    "ratios of episodes": ("algo=ppo", "algo.ratio=sequence", "variance=gae", *ONE_PASS),
    "a term of one's own": ("algo=a2c", "variance=gae", *ONE_PASS),
}


@dataclass
class Flattened(A2c):
    """A2C that also lowers (log π)²."""

    def surrogate(self, log_prob: Tensor, batch: Batch) -> Tensor:
        flat = batch.mask * log_prob.square()
        return super().surrogate(log_prob, batch) - 0.3 * flat.sum() / batch.count

    def gradient_weight(self, log_prob: Tensor, batch: Batch) -> Tensor:
        return super(A2c, self).gradient_weight(log_prob, batch)


def run_of(case: str, **changes: Any) -> Run:
    words = CASES[case]
    words = words if any(word.startswith("env=") for word in words) else (*words, "env=CartPole-v1")
    run = built(*ONE_STEP, *words, **changes)
    return replace(run, algorithm=Flattened()) if case == "a term of one's own" else run


def update(case: str, rollout: Rollout, **changes: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """(the step from θ's start with a learning rate of 1, scalars) of one update on ``rollout``."""
    run = run_of(case, **changes)
    start = run.policy.theta.clone()
    scalars = learn_from_rollout(run, rollout, Counters(next_eval=0))
    return (run.policy.theta - start).double(), scalars


@pytest.mark.parametrize("backend", ["torch", "compiled"])
@pytest.mark.parametrize("case", CASES)
def test_it_reads_the_step_that_is_taken(case: str, backend: str) -> None:
    rollout, _ = collect_rollout(run_of(case))
    if case == "state_ratio":  # the lake gives next to nothing
        rollout = replace(
            rollout, reward=torch.linspace(-1, 1, rollout.reward.numel()).view_as(rollout.reward)
        )
    step, told = update(case, rollout, backend=backend)
    columns = torch.arange(EPISODES)
    without = [update(case, rollout.columns(columns[columns != i]))[0] for i in range(EPISODES)]
    variance, error = jackknife(torch.stack(without))
    assert step.norm() > 1e-3
    assert float(told["gradient/norm"]) == pytest.approx(float(step.norm()), rel=1e-4)
    assert float(told["gradient/variance"]) == pytest.approx(float(variance), rel=1e-3)
    assert float(told["gradient/variance_se"]) == pytest.approx(float(error), rel=1e-3)


@pytest.mark.parametrize("case", ["v_trace, capped", "retrace"])
def test_what_is_told_of_the_critic_is_of_the_targets_it_was_fitted_to(case: str) -> None:
    run = run_of(case)
    rollout, _ = collect_rollout(run)
    critic, fitted = run.learner.critic, []
    fit = critic.fit

    def fit_and_keep(rows: Batch, generator: torch.Generator) -> None:
        fitted.append(rows)
        fit(rows, generator)

    critic.fit = fit_and_keep
    told = learn_from_rollout(run, rollout, Counters(next_eval=0))
    rows = fitted[0]
    assert float(told["value/loss"]) == pytest.approx(float(critic.loss(rows)), rel=1e-6)
    kept = rows.mask > 0
    target, value = rows.target[kept].double(), rows.value[kept].double()
    explained = 1 - (target - value).var(correction=0) / target.var(correction=0)
    assert float(told["value/explained_variance"]) == pytest.approx(float(explained), rel=1e-4)
    usual = run.estimator.weigh(rollout, critic, run.policy)[2].for_critic
    assert float(critic.loss(usual)) != pytest.approx(float(told["value/loss"]), rel=1e-2)


def test_the_loss_of_retrace_is_of_the_present_values() -> None:
    """−1/count Σ mask·min(ρ̄, ρ)(Qʳ − V) log π, V of the policy that came out."""
    run = run_of("retrace")
    rollout, _ = collect_rollout(run)
    batch = make_batch(run, rollout)[2]
    loss = float(learn_from_rollout(run, rollout, Counters(next_eval=0))["policy/loss"])
    policy = run.policy
    log_prob = policy_log_prob(run, batch)
    renewed = renew_state_values(policy, batch)
    ratio = (batch.mask * (log_prob - batch.log_prob)).exp().view(batch.shape)
    advantage, _ = correct_action_values(ratio, renewed, 1.0, 1.0)
    weighed = batch.mask * (ratio.clamp(max=1) * advantage).flatten() * log_prob
    assert loss == pytest.approx(-float(weighed.sum() / batch.count), rel=1e-4)
    assert loss != pytest.approx(-float(run.algorithm.surrogate(log_prob, batch)), rel=1e-2)


def test_v_trace_in_a_joint_loss_has_its_own_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """With V a head of the policy's network every step fits V to V-trace's targets of the present π."""
    case, twice = "v_trace, V a head of the policy's network", {"algo.reuses": 2, "critic.coef": 0.5}
    run = run_of(case, backend="torch", **twice)
    rollout, _ = collect_rollout(run)
    compiled, _ = update(case, rollout, backend="compiled", **twice)
    start = run.policy.theta.clone()
    seen, joint_delta = [], run.learner.critic.joint_delta

    def keep(out: Tensor, batch: Batch) -> Tensor:
        ratio = (batch.mask * (policy_log_prob(run, batch) - batch.log_prob)).exp().view(batch.shape)
        wanted = batch.value + run.algorithm.v_trace(ratio, batch)[0].flatten()
        seen.append((batch.target, wanted))
        return joint_delta(out, batch)

    monkeypatch.setattr(run.learner.critic, "joint_delta", keep)
    learn_from_rollout(run, rollout, Counters(next_eval=0))
    assert len(seen) == 2
    for target, wanted in seen:
        torch.testing.assert_close(target, wanted)
    assert (seen[0][0] - seen[1][0]).abs().max() > 1e-3
    assert (run.policy.theta - start - compiled).norm() < 1e-4 * compiled.norm()


def policy_log_prob(run: Run, batch: Batch) -> Tensor:
    return run.policy.dist.log_prob(run.policy.params(batch.obs), batch.action)


@pytest.mark.parametrize("key", ["target=n_step", "lam=0.5"])
@pytest.mark.parametrize("weights", ["v_trace variance=td0", "retrace variance=advantage critic=fitted_q"])
def test_targets_that_nothing_reads_are_refused(weights: str, key: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(f"algo=off_policy_pg advantage_norm=none algo.weights={weights} critic.{key}")
    assert answer.code == 2
    assert f"critic.{key.split('=')[0]}" in answer.err
    assert "fits it to targets of its own" in answer.err
    assert not list(here.iterdir())
