"""Continuations have the exact values as their mean, begin exactly where they should, and bias nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from pgrun import exact
from pgrun.algorithms.estimator import Estimator
from pgrun.critics.exact import ExactCritic
from pgrun.critics.vine import Vine, VineCritic, find_live_observations
from pgrun.envs import EnvSettings, make_envs
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.returns import lambda_return
from pgrun.rollouts.continuations import Continuations, Places
from pgrun.tools.study.collect import Seen
from pgrun.tools.study.every_episode import list_episodes
from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout
from pgrun.training.saver import restore_counters
from pgrun.variance.all_actions import AllActions
from pgrun.variance.base import Scheme
from pgrun.variance.gae import Gae
from pgrun.variance.td0 import Td0
from pgrun.variance.value_baseline import ValueBaseline
from tests.helpers.support_cli import pgrun as command
from tests.helpers.support_pipeline import built, trained

GAMMA, START, MANY = 0.9, "from_start", 2000
TREE = EnvSettings("pgrun/TokenTree-v0", num_envs=2, kwargs={"length": 2})

pytestmark = pytest.mark.usefixtures("without_gradients")


def tree(times: int) -> tuple[exact.Problem, Policy, Any, VineCritic]:
    p = exact.read_problem(gym.make("pgrun/TokenTree-v0", length=2))
    states, actions = p.observations, p.reward.shape[1]
    theta = torch.linspace(-1, 1, actions * states, dtype=torch.float64)
    policy = Policy(Mlp([states, actions], bias=False), Categorical(actions), theta, NoStateNorm())
    envs = make_envs(TREE, 2)
    envs.reset([1, 2])
    envs.follow_states()
    play = Continuations(policy, envs, GAMMA, torch.Generator().manual_seed(3))
    return p, policy, list_episodes(p, policy, envs.one.unwrapped.P), VineCritic(play, times)


def test_values_have_the_exact_ones_as_their_mean() -> None:
    """V̂ and Q̂ of every state and action, within four standard errors; V̂ of another K has a K-th of the
    variance.
    """
    p, policy, every, critic = tree(MANY)
    known, rollout, live = ExactCritic(p, policy, GAMMA), every.rollout, find_live_observations(every.rollout)
    spread = float(p.reward.max() - p.reward.min()) / 2 / MANY**0.5  # the most: it earns once, at the end
    for one, wanted in (
        (critic.values(rollout)[live], known.values(rollout)[live]),
        (critic.every_action_value(rollout)[live[:-1]], known.every_action_value(rollout)[live[:-1]]),
    ):
        assert (one - wanted).abs().max() < 4 * spread
        assert wanted.std() > 5 * spread, "or a constant would do"
    off = [
        [VineCritic(critic.play, k).values(rollout)[live] - known.values(rollout)[live] for _ in range(40)]
        for k in (2, 32)
    ]
    first, second = (torch.stack(errors).square().mean() for errors in off)
    assert first / second == pytest.approx(16, rel=0.4)  # of some 400 degrees of freedom each


def test_the_time_limit_is_where_it_was() -> None:
    """On an MDP cut off after 3 steps: a V of another time would be off by more."""
    given = {"states": 3}
    p = exact.read_problem(gym.make("pgrun/SmallMDP-v0", **given), 3)
    policy = Policy(
        Mlp([3, p.reward.shape[1]], bias=False), Categorical(p.reward.shape[1]),
        torch.linspace(-1, 1, 3 * p.reward.shape[1], dtype=torch.float64), NoStateNorm(),
    )  # fmt: skip
    envs = make_envs(EnvSettings("pgrun/SmallMDP-v0", num_envs=2, kwargs=given, max_episode_steps=3), 2)
    envs.reset([1, 2])
    envs.follow_states()
    every = list_episodes(p, policy).rollout
    first = {int((every.state[t] == s).nonzero()[0, 0]) for t in range(3) for s in range(3)}
    every = every.columns(torch.tensor(sorted(first)))  # each state at each time
    live = find_live_observations(every)
    play = Continuations(policy, envs, GAMMA, torch.Generator().manual_seed(3))
    actual = VineCritic(play, MANY).values(every)[live]
    wanted = ExactCritic(p, policy, GAMMA).values(every)[live]
    room = 4 * 3 * float(p.reward.max() - p.reward.min()) / 2 / MANY**0.5
    assert (actual - wanted).abs().max() < room
    late = ExactCritic(p, policy, GAMMA).values(replace(every, time=torch.zeros_like(every.time)))[live]
    assert (late - wanted).abs().max() > 2 * room


class OwnFuture:
    """What V̂ must not be: what this very episode went on to earn."""

    def values(self, rollout: Any) -> torch.Tensor:
        zero = torch.zeros_like(rollout.obs[..., 0])
        r = rollout
        got = lambda_return(r.reward, r.terminated, r.ended, zero, GAMMA, 1.0)
        return torch.cat([got, zero[:1]])


@pytest.mark.parametrize("scheme", [ValueBaseline(START), Td0(START), Gae(START, lam=0.5), AllActions(START)])
def test_one_continuation_biases_no_gradient(scheme: Scheme) -> None:
    """Over all episodes by their chance and 300 draws of the continuations; the future that was seen itself
    is the negative control.
    """
    p, policy, every, critic = tree(1)
    truth = exact.gradient(policy, p, GAMMA)
    estimator = Estimator(scheme, GAMMA)
    draws = torch.stack(
        [every.probability @ Seen(policy, every.rollout, critic).estimates(estimator, 1) for _ in range(300)]
    )
    se = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - truth).abs() < 5 * se + 1e-12).all()
    assert se.max() < 0.1 * truth.norm()
    if isinstance(scheme, ValueBaseline):
        seen = every.probability @ Seen(policy, every.rollout, OwnFuture()).estimates(estimator, 1)  # type: ignore[arg-type]
        assert (seen - truth).norm() > 0.9 * truth.norm()


@pytest.mark.parametrize("env", ["Pendulum-v1", "InvertedPendulum-v5", "pgrun/LQ1-v0"])
def test_without_noise_the_future_is_the_one_that_was_seen(env: str) -> None:
    """With σ = 2e-9 an episode from each visited state earns what was earned from there on."""
    run = built(
        "algo=a2c", "variance=td0", "critic=vine", "sampler=episodes", "tuned=none",
        **{"env.id": env, "env.vector": "loop", "env.num_envs": 2, "sampler.episodes": 3, "gamma": GAMMA,
           "env.max_episode_steps": 12, "network.log_std": -20.0, "network.hidden": [8],
           "critic.continuations": 1, "network.policy_gain": 1.0},
    )  # fmt: skip
    rollout, _ = collect_rollout(run)
    value = run.learner.critic.values(rollout)
    zero = torch.zeros_like(value)
    seen = lambda_return(rollout.reward, rollout.terminated, rollout.ended, zero, GAMMA, 1.0) * rollout.mask
    torch.testing.assert_close(value[:-1], seen, rtol=1e-4, atol=1e-4)  # float32 observations
    assert seen.std() > 0.1
    assert len(run.envs.snapshots) <= rollout.state.numel() + 2


def test_the_noise_of_the_environment_is_drawn_anew() -> None:
    """LQ1 with disturbances and no σ: continuations of one state differ."""
    run = built(
        "algo=a2c", "variance=td0", "critic=vine", "sampler=episodes", "tuned=none",
        **{"env.id": "pgrun/LQ1-v0", "env.kwargs": {"noise": 1.0}, "env.vector": "loop", "env.num_envs": 2,
           "sampler.episodes": 2, "env.max_episode_steps": 5, "network.log_std": -20.0,
           "critic.continuations": 1},
    )  # fmt: skip
    rollout, _ = collect_rollout(run)
    first, second = (run.learner.critic.values(rollout) for _ in range(2))
    assert (first - second).abs().max() > 0.1


def test_a_run_on_steps_goes_on_as_it_was() -> None:
    """Bit-identical from its state."""
    given: dict[str, Any] = {
        "env.id": "CartPole-v1", "env.vector": "loop", "env.num_envs": 2, "sampler.steps": 6,
        "critic.continuations": 1, "network.hidden": [8],
    }  # fmt: skip
    run, again = (built("algo=a2c", "variance=gae", "critic=vine", "tuned=none", **given) for _ in range(2))
    learn_from_rollout(run, collect_rollout(run)[0], Counters(next_eval=0))
    again.load_state_dict(run.state_dict())
    for one in (run, again):
        learn_from_rollout(one, collect_rollout(one)[0], Counters(next_eval=0))
    assert torch.equal(run.policy.theta, again.policy.theta)


def test_continuations_are_environment_steps(tmp_path: Path) -> None:
    """An episode of 5 steps is played on from each of its states: 5 + 4 + 3 + 2 + 1 steps, K times. A budget
    ends the run as soon as both kinds together reach it, and what was played in is closed.
    """
    given: dict[str, Any] = {
        "env.id": "pgrun/LQ1-v0", "env.vector": "loop", "env.num_envs": 2, "sampler.episodes": 2,
        "gamma": GAMMA, "env.max_episode_steps": 5, "critic.continuations": 3, "trainer.total_steps": 150,
    }  # fmt: skip
    words = ("algo=reinforce", "variance=value_baseline", "critic=vine")
    run, summary = trained(tmp_path, *words, **given)
    assert summary["updates"] == 2
    assert summary["env_steps"] == 2 * 2 * (5 + 3 * 15)
    assert summary["continuation_steps"] == 2 * 2 * 3 * 15
    assert run.envs.continued == 0
    counted = Counters()
    restore_counters(counted, {name: x for name, x in vars(counted).items() if name != "continued"})
    with pytest.raises(KeyError):
        restore_counters(counted, {})


def test_continuations_on_a_table_are_counted() -> None:
    """Each step earns 1 but the last, so that undiscounted returns are lengths less 1."""
    policy = Policy(Mlp([1, 2], bias=False), Categorical(2), torch.zeros(2).double(), NoStateNorm())
    envs = make_envs(EnvSettings("pgrun/OneState-v0", num_envs=2, max_episode_steps=9), 2)
    envs.reset([1, 2])
    envs.follow_states()
    play = Continuations(policy, envs, 1.0, torch.Generator().manual_seed(3))
    zero = np.zeros(7, np.int64)
    returns = play.play_on(Places(zero, zero, np.ones((7, 1), np.float32)))
    assert 0 < returns.max() < 8  # none is cut off
    assert envs.continued == returns.sum() + 7


def test_what_continuations_are_played_in_is_closed() -> None:
    run = built("algo=a2c", "variance=td0", "critic=vine", "tuned=none", **{
        "env.id": "CartPole-v1", "env.vector": "loop", "env.num_envs": 2, "sampler.steps": 3,
    })  # fmt: skip
    run.learner.critic.values(collect_rollout(run)[0])
    closed = []
    for env in run.envs.pool:
        env.unwrapped.close = lambda: closed.append(1)
    run.envs.close()
    assert len(closed) == len(run.envs.pool) > 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("env=CartPole-v1 variance=td0", "add env.vector=loop"),
        ("env=LunarLander-v3 variance=td0", "cannot be read"),
        ("env=Pendulum-v1 env.vector=loop variance=all_actions", "sums over actions"),
    ],
)
def test_refusals(words: str, said: str) -> None:
    answer = command(f"algo=a2c critic=vine tuned=none {words}")
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.parametrize("limit", [None, 30])
def test_episodes_that_may_never_end_are_refused(limit: int | None) -> None:
    """A table with a cycle and no limit of steps; one without a cycle ends by itself."""
    settings = {"reward_scaling": False, "variance": {"name": "td0"}, "env": {"id": "own", "vector": "auto"}}
    plain = gym.make("FrozenLake-v1").unwrapped
    env = plain if limit is None else gym.wrappers.TimeLimit(plain, limit)
    env.unwrapped.spec = replace(gym.spec("FrozenLake-v1"), max_episode_steps=limit)
    said = [one.sentence() for one in Vine.misfits(settings, env)]
    assert any("may have none: add env.max_episode_steps=1000" in one for one in said) == (limit is None)
    tree = gym.make("pgrun/TokenTree-v0", length=2)
    assert not [one for one in Vine.misfits(settings, tree) if "may have none" in one.sentence()]
