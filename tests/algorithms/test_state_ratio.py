"""The ratio of state visits, which weighs reused episodes by state instead of by past product; and what is
logged of weights.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from pgrun import exact
from pgrun.critics.base import NoCritic
from pgrun.types import Rollout
from pgrun.variance.none import None_
from tests.algorithms.test_exact_fisher import problem_of
from tests.algorithms.test_exact_off_policy import mean, moved, with_q_of_the_behaviour
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_enumerate import world
from tests.helpers.support_exact import EXACT, FAR, error, probabilities, true_gradient
from tests.helpers.support_pipeline import built, trained
from tests.helpers.support_reuse import TO_GO, all_mdps, reused


def with_states(name: str) -> Rollout:
    """Every trajectory with its states; where there is none, an invalid number is not looked up but must
    index something.
    """
    mdp, _, episodes = world(name)
    return replace(episodes.rollout, state=episodes.state.clamp(max=mdp.states - 1))


@all_mdps
def test_it_is_the_mean_of_the_past_product_in_each_state(name: str) -> None:
    """E[∏_{k<t} ρₖ | sₜ, alive] over every trajectory, for each t and s: the documents' open question."""
    mdp, theta, every_episode = world(name)
    new, rollout = moved(theta), every_episode.rollout
    algorithm, _ = reused(
        "state_ratio", with_states(name), every_episode.policy, new, problem=problem_of(mdp)
    )
    padded = [
        torch.cat([probabilities(mdp, x), torch.ones(1, 2)]) for x in (new, theta)
    ]  # 1 where nobody acts
    rho = (padded[0] / padded[1])[every_episode.state[:-1], rollout.action]
    past = torch.cat([torch.ones_like(rho[:1]), torch.where(rollout.mask > 0, rho, 1.0).cumprod(0)[:-1]])
    pairs = 0
    for t, s in product(range(mdp.horizon), range(mdp.states)):
        now = (every_episode.state[t] == s) & (rollout.mask[t] > 0)
        if now.any():
            p, ratio = every_episode.probability[now], algorithm.state_ratio[t][now]
            assert error(ratio, (p * past[t][now]).sum() / p.sum()) < EXACT
            pairs += bool((ratio - 1).abs().max() > FAR)
    assert pairs >= 1  # ratios of 1 would be easy to equal


@all_mdps
def test_its_mean_is_that_of_the_past_products(name: str) -> None:
    """E_θ[Σ gₜ Q^{π_old}(sₜ,aₜ)], biased; each trajectory alone, so that no two are averaged."""
    mdp, theta, every_episode = world(name)
    new, p = moved(theta), problem_of(mdp)
    total = torch.zeros_like(theta)
    for column, chance in enumerate(every_episode.probability):
        rollout = with_states(name).columns(torch.tensor([column]))
        total += chance * reused("state_ratio", rollout, every_episode.policy, new, problem=p)[1]
    assert error(total, with_q_of_the_behaviour(mdp, theta, new, state_of=new)) < EXACT
    assert error(total, mean(name, "past_only", TO_GO)) < EXACT
    first_order = mean(name, "per_step", TO_GO)
    assert error(total, first_order) > 1e-4  # three steps leave little to drift: 0.0002, 0.004, 0.008
    assert error(total, true_gradient(mdp, new)) > FAR


@pytest.mark.parametrize("words", [("env=FrozenLake-v1",), ("env=FrozenLake-v1", "state_norm=true")], ids=str)
def test_through_the_sampler(words: tuple[str, ...]) -> None:
    """The chance of each row is that of its time and of the one state that looks so."""
    run = built(*words, "algo=off_policy_pg", "algo.weights=state_ratio")
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    batch = run.estimator.batch(
        rollout, rollout.reward.new_zeros(rollout.obs.shape[:2]), NoCritic(), run.policy
    )
    chance = run.algorithm.chances(run.policy, batch)
    p = exact.read_problem(run.envs.envs[0])
    seen, rows = rollout.raw_obs[:-1].argmax(-1), rollout.mask.bool()
    expected = exact.state_visits(p, exact.policy_table(run.policy, p))[rollout.time.long(), seen]
    assert torch.equal(chance[rows], expected[rows])
    assert (chance[rows] > 0).all()
    ended = 1 - exact.state_visits(p, exact.policy_table(run.policy, p)).sum(
        1
    )  # before each time, a state like any other
    assert torch.equal(chance[~rows], ended[: len(rows), None].expand_as(chance)[~rows])


@pytest.mark.parametrize("env", ["FrozenLake-v1", "pgrun/Mismatch-v0"])
def test_it_trains_on_tables_also_where_states_look_alike(env: str, tmp_path: Path) -> None:
    words = (
        f"env={env}",
        "algo=off_policy_pg",
        "algo.weights=state_ratio",
        "trainer.total_steps=600",
        "gamma=1.0",
    )
    run, _ = trained(tmp_path, *words)
    assert run.policy.theta.isfinite().all()
    assert run.algorithm.state_ratio is not None
    last = list(csv.DictReader((tmp_path / "metrics.csv").open()))[-1]
    assert 0 < float(last["weight/ess"]) <= 1
    assert float(last["weight/max"]) >= float(last["weight/mean"]) > 0
    assert last["weight/return"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "algo.weights=state_ratio",
            ["CartPole-v1", "no transition table", "algo.weights=per_step", "FrozenLake-v1"],
        ),
        ("algo.weights=state_ratio env=Taxi-v4 env.kwargs.fickle_passenger=true", ["fickle"]),
        ("algo.weights=per_decision", ["advantage_norm=none or scale"]),
        (
            "algo.weights=per_decision advantage_norm=none variance=none",
            ["variance=none", "variance=reward_to_go", "algo.weights=trajectory"],
        ),
    ],
)
def test_refused_with_what_works(line: str, told: list[str], here: Path) -> None:  # noqa: F811
    answer = pgrun(f"algo=off_policy_pg {line}")
    assert answer.code == 2
    assert [x for x in told if x not in answer.err] == []
    assert not list(here.iterdir())


@all_mdps
def test_why_per_decision_takes_rewards_to_go_alone(name: str) -> None:
    """Past rewards stand in Ψₜ without ρₜ, and E_old[gₜ] ≠ 0 for the score of another policy; with trajectory
    weights it is 0.
    """
    mdp, theta, _ = world(name)
    assert error(mean(name, "per_decision", None_()), true_gradient(mdp, moved(theta))) > FAR
    assert error(mean(name, "trajectory", None_()), true_gradient(mdp, moved(theta))) < EXACT
