"""The exact critic: values of the present policy, at the state and the time that each row really has."""

from __future__ import annotations

import copy
import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pgrun import exact
from pgrun.critics.exact import values_by_steps_left
from pgrun.training.build import Run
from pgrun.types import Rollout
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun
from tests.helpers.support_pipeline import built, trained

PROBLEMS = {
    "states that look alike": ["env=pgrun/Mismatch-v0"],
    "terminates, or is cut off after 7": ["env=pgrun/SmallMDP-v0", "env.max_episode_steps=7"],
    "gymnasium's own": ["env=FrozenLake-v1", "env.max_episode_steps=9"],
}
SAMPLERS = {
    "steps": ["algo=a2c", "sampler.steps=40"],
    "episodes": ["algo=reinforce", "sampler.episodes=10", "variance=advantage"],
}
ROUNDED = 1e-5  # of values up to 10 that were computed in float64 and are kept in float32


def with_exact(*words: str, **changes) -> Run:
    run = built("critic=exact", "network.hidden=[]", "env.num_envs=3", *words, **changes)
    run.policy.theta.copy_(torch.randn(len(run.policy.theta), generator=torch.Generator().manual_seed(0)))
    return run


def collected(run: Run) -> Rollout:
    return run.sampler.collect(run.policy, run.envs, run.noise, run.scale)[0]


def solved(run: Run) -> tuple[Tensor, Tensor]:
    """V [H+1, S] and Q [H, S, A] by the solver that has proofs of its own."""
    p = exact.read_problem(run.envs.envs[0])
    return exact.values(p, exact.policy_table(run.policy, p), run.top.gamma)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_row_has_the_values_of_its_own_state_and_time(name: str, sampler: str) -> None:
    """Also the successor of an episode's last row, whose place in the rollout the reset row takes."""
    run = with_exact(*PROBLEMS[name], *SAMPLERS[sampler])
    rollout, (v, q) = collected(run), solved(run)
    value, weight = run.learner.critic.values(rollout), run.learner.critic.action_values(rollout)
    limit, ends = len(v) - 1, 0
    for t, n in rollout.mask.nonzero().tolist():
        time, state, after = (int(x) for x in (rollout.time[t, n], *rollout.state[t : t + 2, n]))
        assert value[t, n] == pytest.approx(float(v[time, state]), abs=ROUNDED)
        assert weight[t, n] == pytest.approx(float(q[time, state, rollout.action[t, n]]), abs=ROUNDED)
        if not rollout.terminated[t, n]:
            assert value[t + 1, n] == pytest.approx(float(v[time + 1, after]), abs=ROUNDED)
        if rollout.ended[t, n] and not rollout.terminated[t, n]:
            assert time + 1 == limit
            assert value[t + 1, n] == 0
            ends += 1
    assert ends > 0 or name == "states that look alike"


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_states_are_those_that_were_played(name: str, sampler: str) -> None:
    """Each transition is one of the table, with its reward and its end, and is seen as observed."""
    run = with_exact(*PROBLEMS[name], *SAMPLERS[sampler])
    table, p = run.envs.envs[0].unwrapped.P, exact.read_problem(run.envs.envs[0])
    visited = set()
    for _ in range(3):  # a rollout goes on where the last one stopped
        rollout = collected(run)
        assert torch.equal(
            rollout.raw_obs.argmax(-1)[:-1][rollout.mask > 0], p.seen[rollout.state[:-1][rollout.mask > 0]]
        )
        for t, n in rollout.mask.nonzero().tolist():
            state, after = (int(x) for x in rollout.state[t : t + 2, n])
            outcomes = table[state][int(rollout.action[t, n])]
            end, reward = bool(rollout.terminated[t, n]), float(rollout.raw_reward[t, n])
            matches = [o for o in outcomes if o[1] == after and o[3] == end]
            assert any(o[2] == pytest.approx(reward, abs=ROUNDED) for o in matches)
            visited.add(state)
    assert len(visited) >= 3


def test_states_that_look_alike_have_values_of_their_own() -> None:
    """Negative control: one value for each observation is not enough on Mismatch."""
    run = with_exact(*PROBLEMS["states that look alike"], *SAMPLERS["steps"])
    rollout = collected(run)
    assert rollout.obs.shape[-1] == 1
    kept = rollout.mask > 0
    assert len(run.learner.critic.values(rollout)[:-1][kept].unique()) == 3


def test_the_values_are_those_of_the_present_policy() -> None:
    run = with_exact(*PROBLEMS["gymnasium's own"], *SAMPLERS["steps"])
    rollout = collected(run)
    before = run.learner.critic.values(rollout)
    run.policy.theta.neg_()
    assert (run.learner.critic.values(rollout) - before).abs().max() > 0.01


def test_scaled_is_a_multiple() -> None:
    words = [*PROBLEMS["gymnasium's own"], *SAMPLERS["steps"]]
    run, other = with_exact(*words), with_exact(*words, "critic=scaled", "critic.factor=1.5")
    rollout = collected(run)
    for name in ("values", "action_values"):
        one, more = (getattr(r.learner.critic, name)(rollout) for r in (run, other))
        torch.testing.assert_close(more, 1.5 * one)


@pytest.mark.parametrize("stay", [0.3, 0.9, 0.9999])
def test_backward_induction_stops_where_nothing_changes(stay: float) -> None:
    """Values of OneState converge like θᵏ: 10 000 steps are worked out only where they matter."""
    import gymnasium

    p = exact.read_problem(gymnasium.make("pgrun/OneState-v0"))
    pi = torch.tensor([[stay, 1 - stay]], dtype=torch.float64)
    short, whole = values_by_steps_left(p, pi, 1.0), exact.values(p, pi, 1.0)[0]
    left = torch.arange(p.horizon, -1, -1).clamp(max=len(short) - 1)
    # the two add in another order: rounding of 1e-16 a step, over as many steps as the values remember
    torch.testing.assert_close(short[left], whole, rtol=1e-12, atol=0)
    assert (len(short) < 1000) == (stay < 0.99)


def test_a_loaded_run_knows_where_it_stands() -> None:
    words = [*PROBLEMS["terminates, or is cut off after 7"], *SAMPLERS["steps"]]
    first, second = with_exact(*words), with_exact(*words, seed=1)
    collected(first)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(collected(first).state, collected(second).state)


@pytest.mark.parametrize(
    "words", [["algo=ppo", "critic=exact", "state_norm=true"], ["algo=online_ac", "critic=scaled"]]
)
def test_it_trains_and_its_scalars_make_sense(words: list[str], tmp_path: Path) -> None:
    trained(tmp_path, "env=FrozenLake-v1", *words, "trainer.total_steps=600", "logger.every=100")
    last = list(csv.DictReader((tmp_path / "metrics.csv").open()))[-1]
    assert last["value/loss"] == "", "nothing is fitted"
    assert 0 <= float(last["value/mean"]) <= 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("algo=a2c critic=exact", "take critic=fitted"),
        ("algo=a2c critic=exact variance=q", "take critic=fitted_q"),
        ("algo=a2c critic=scaled env=CliffWalking-v1 env.max_episode_steps=null", "env.max_episode_steps"),
        ("algo=a2c critic=exact env=FrozenLake-v1 reward_scaling=true", "add reward_scaling=false"),
        ("algo=a2c critic=exact env=FrozenLake-v1 network=shared", "add network=separate"),
        ("algo=a2c critic=exact env=FrozenLake-v1 critic.optimizer.lr=1", "nothing to fit"),
        ("algo=off_policy_ac critic=exact env=FrozenLake-v1", "add critic=action_value"),
        ("algo=reinforce critic=exact env=FrozenLake-v1", "has no critic"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run_directory(line: str, said: str, here: Path) -> None:  # noqa: F811
    answer = pgrun(line)
    assert (answer.code, said in answer.err, list(here.iterdir())) == (2, True, []), answer.err
