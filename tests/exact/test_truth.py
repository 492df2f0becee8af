"""diagnostics.exact: J, and the critic's errors, against backward induction written out, closed forms, and a
critic that knows nothing.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pgrun import exact
from pgrun.diagnostics.exact_errors import OBJECTIVE, variance_within_cells
from pgrun.training.build import Run
from pgrun.training.loop import make_batch
from tests.helpers.support_pipeline import built, trained

EXACT = {"rtol": 1e-5, "atol": 1e-6}  # V̂ and rewards are float32
LIMIT = 30


def words(algo: str = "a2c", env: str = "FrozenLake-v1", *more: str) -> list[str]:
    known = [
        "diagnostics.exact=true",
        "env.num_envs=4",
        "network.hidden=[8]",
        f"env.max_episode_steps={LIMIT}",
    ]
    return [f"algo={algo}", f"env={env}", *known, *more]


def told(run: Run) -> tuple[dict[str, float], object, object]:
    """(scalars of a rollout, the rollout, its batch), θ and the critic as they start."""
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    recalled = run.sampler.recall(rollout, run.policy, run.scale, run.noise)
    rollout, _, batch = make_batch(run, recalled)
    return run.exact_errors.scalars(run.policy, run.policy, rollout, batch), rollout, batch


@pytest.mark.parametrize("sampler", ["steps", "episodes"])
def test_error_of_v_is_against_the_value_of_the_steps_left(sampler: str) -> None:
    """V_h of backward induction at each row's own h; another h or a row that only resets would be seen."""
    run = built(*words("a2c", "FrozenLake-v1", f"sampler={sampler}", "gamma=0.9"))
    run.policy.theta.add_(torch.randn(len(run.policy.theta), generator=run.noise))
    actual, rollout, batch = told(run)
    p = exact.read_problem(run.envs.one)
    v, _ = exact.values(p, exact.policy_table(run.policy, p), 0.9)
    x = v[rollout.time.long(), rollout.state[:-1]].flatten()
    kept = batch.mask > 0
    assert 0 < kept.sum() < len(kept)
    error, bias = (batch.value - x)[kept], (batch.target - x)[kept]
    torch.testing.assert_close(actual["value/error"], error.square().mean(), **EXACT)
    torch.testing.assert_close(actual["value/target_bias"], bias.mean(), **EXACT)
    by_state = [batch.target[kept & (batch.state == s)].double() for s in range(16)]
    squares = sum((y - y.mean()).square().sum() for y in by_state if len(y))
    free = kept.sum() - sum(len(y) > 0 for y in by_state)
    torch.testing.assert_close(actual["value/target_variance"], squares / free, **EXACT)


@pytest.mark.parametrize("corrections", ["none", "q", "all"])
def test_error_of_q_is_of_the_replayed_pairs_under_the_present_policy(corrections: str) -> None:
    more = [
        "sampler.warmup=1",
        "sampler.steps=40",
        "sampler.batch=500",
        f"algo.corrections={corrections}",
        "gamma=0.9",
    ]
    run = built(*words("off_policy_ac", "FrozenLake-v1", *more))
    run.policy.theta.add_(torch.randn(len(run.policy.theta), generator=run.noise))
    actual, rollout, batch = told(run)
    p = exact.read_problem(run.envs.one)
    _, q = exact.values(p, exact.policy_table(run.policy, p), 0.9)
    seen = rollout.replayed_from
    x = q[seen.time.long(), seen.state[:-1], seen.action].flatten()
    rows = batch.critic_rows
    torch.testing.assert_close(actual["value/error"], (rows.value - x).square().mean(), **EXACT)
    torch.testing.assert_close(actual["value/target_bias"], (rows.target - x).mean(), **EXACT)


def test_error_of_a_fitted_q_is_against_q_of_the_actions_taken() -> None:
    run = built(*words("a2c", "FrozenLake-v1", "variance=advantage", "critic=fitted_q", "gamma=0.9"))
    run.policy.theta.add_(torch.randn(len(run.policy.theta), generator=run.noise))
    _, rollout, batch = told(run)
    p = exact.read_problem(run.envs.one)
    q = exact.values(p, exact.policy_table(run.policy, p), 0.9)[1]
    right = q[rollout.time.long(), rollout.state[:-1], rollout.action].flatten()
    rows = replace(batch.for_critic, value=right, target=right + 1)
    known = replace(batch, critic_rows=rows)
    actual = run.exact_errors.scalars(run.policy, run.policy, rollout, known)
    torch.testing.assert_close(actual["value/error"], torch.zeros(()).double(), **EXACT)
    torch.testing.assert_close(actual["value/target_bias"], torch.ones(()).double(), **EXACT)


@pytest.mark.parametrize("critic", ["exact", "vine"])
def test_a_critic_that_nobody_asks_for_v_has_no_error(critic: str, tmp_path: Path) -> None:
    """Q alone is read from it; V of its rows would be 0. And what nothing is fitted in has no loss."""
    given = [*words("a2c", "FrozenLake-v1", f"critic={critic}"), "logger.every=1", "trainer.total_steps=300"]
    for scheme, there in (("q", False), ("advantage", True)):
        trained(tmp_path / scheme, *given, f"variance={scheme}")
        row = next(csv.DictReader((tmp_path / scheme / "metrics.csv").open()))
        tags = ("value/mean", "value/error", "value/loss")
        assert [bool(row.get(tag)) for tag in tags] == [there, there, False]


def test_on_one_state_they_are_known_by_hand() -> None:
    """θ = ½, 20 000 episodes, V = 1, V̂ = 0: mc targets have bias 0 and variance θ/(1 − θ)² = 2, td0 targets
    y = r: bias −½, variance ¼.

    4 standard errors of means over episodes, which are of 2 rows each; fourth moments put those of the
    variances at 5 and 1 %.
    """
    for target, bias, variance in (("mc", 0.0, 2.0), ("td0", -0.5, 0.25)):
        more = [
            "sampler=episodes",
            "sampler.episodes=20000",
            "gamma=1",
            f"critic.target={target}",
            "env.num_envs=200",
        ]
        run = built(*words("a2c", "pgrun/OneState-v0", *more), **{"env.max_episode_steps": 100})
        run.policy.theta.zero_()
        run.learner.critic.phi.zero_()
        actual, _, _ = told(run)
        assert actual["value/error"] == pytest.approx(1.0, abs=1e-6)
        assert abs(actual["value/target_bias"] - bias) < 0.06
        assert actual["value/target_variance"] == pytest.approx(variance, rel=0.2 if target == "mc" else 0.04)
        assert actual["objective/exact"] == pytest.approx(1.0, abs=1e-9)


def test_variance_within_cells() -> None:
    y, cell = torch.tensor([1.0, 3.0, 10.0, 10.0, 7.0]), torch.tensor([4, 4, 0, 0, 9])
    assert variance_within_cells(y, cell) == pytest.approx(2.0 / 2)
    assert variance_within_cells(y[:1], cell[:1]).numel() == 0  # nothing to compare


def test_j_is_that_of_the_new_policy_and_nothing_else_changes(tmp_path: Path) -> None:
    """The same run without it: the same parameters, bit for bit, and no such columns."""
    plain = [
        w
        for w in words("trpo", "FrozenLake-v1", "trainer.total_steps=600", "sampler.steps=32")
        if "exact" not in w
    ]
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    run, summary = trained(tmp_path / "with", *plain, "diagnostics.exact=true")
    _, other = trained(tmp_path / "without", *plain)
    assert summary["params_sha256"] == other["params_sha256"]
    header = (tmp_path / "without" / "metrics.csv").read_text().splitlines()[0]
    assert not any(tag in header for tag in run.exact_errors.tags)
    with (tmp_path / "with" / "metrics.csv").open() as file:
        last = [float(row["objective/exact"]) for row in csv.DictReader(file) if row["objective/exact"]][-1]
    p = exact.read_problem(run.envs.one)
    assert last == pytest.approx(float(exact.objective(p, exact.policy_table(run.policy, p), 0.99)), rel=1e-9)


def test_without_a_critic_they_are_of_j_alone() -> None:
    run = built(*words("reinforce"))
    assert run.exact_errors.tags == OBJECTIVE
    assert tuple(told(run)[0]) == OBJECTIVE
