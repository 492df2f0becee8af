"""The variance of a term by state, action and rest: closed forms, backward induction, identities, and
sampling beside the sum over all episodes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium as gym
import pytest
import torch

from pgrun import exact
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from pgrun.tools.study.check import find_study_problems
from pgrun.tools.study.cli import STUDY
from pgrun.tools.study.decomposition import Parts
from pgrun.tools.study.exact_ascent import climb_to_share
from pgrun.tools.study.nested_sampling import estimate_parts, visit_moments
from tests.helpers.support_study import study

NAMES = ("state", "action", "rest")
CONTROL = "action_baseline corrected=false"
SCHEMES = (
    "schemes=[none,reward_to_go,value_baseline,td0,q,all_actions,action_baseline,"
    "{action_baseline:{corrected:false}}]"
)
MDP = "env=pgrun/SmallMDP-v0 env.max_episode_steps=3 env.kwargs.states=3 gamma=0.9 policy.ascent=0.3"


def parts(line: str) -> dict[str, dict[str, float]]:
    schemes: dict[str, Any] = study(f"{line} batch=2 episodes=4")["decompose"]["schemes"]
    return schemes


@cache
def on_the_mdp(critic: str = "exact") -> dict[str, dict[str, float]]:
    return parts(f"{MDP} critic={critic} {SCHEMES} decompose.by=exact")


def test_closed_forms_on_one_state() -> None:
    """In θ: Σ_s = 0; reward-to-go 1/(θ(1−θ)³) and 1/(1−θ)⁴; V takes the action's part down to Var_a(Ag),
    Q the rest. 2(θ(1−θ))² of it in two logits.
    """
    theta = 0.3
    q, unit = 1 - theta, 2 * (theta * (1 - theta)) ** 2
    actual = parts(
        f"env=pgrun/OneState-v0 env.max_episode_steps=30 gamma=1 policy.theta={theta} critic=exact {SCHEMES} "
        "decompose.by=auto"
    )
    advantage = (1 / theta + theta**2 / q**3) / q**2 - 1 / q**4  # L²E(Ag)² − (dJ/dθ)²
    wanted = {
        "reward_to_go": (1 / (theta * q**3), 1 / q**4),
        "value_baseline": (advantage, 1 / q**4),
        "td0": (advantage, 0),
        "q": (1 / (theta * q**3), 0),
    }
    for label, (action, rest) in wanted.items():
        assert actual[label]["state"] == pytest.approx(0, abs=1e-9)  # 0.3³⁰ of the time the limit is met
        assert actual[label]["action"] == pytest.approx(unit * action, abs=1e-9)
        assert actual[label]["rest"] == pytest.approx(unit * rest, abs=1e-9)


def test_parts_of_the_return_to_go_by_backward_induction() -> None:
    """Var[G|t, s, a] from the table, where what an outcome earns depends on the next state."""
    env = gym.make("pgrun/SmallMDP-v0", max_episode_steps=3, states=3)
    p, gamma = exact.read_problem(env), 0.9
    with torch.no_grad():
        policy = Policy(
            Mlp([3, 2], bias=False), Categorical(2), torch.zeros(6, dtype=torch.float64), NoStateNorm()
        )
        climb_to_share(policy, p, gamma, 0.3)
        pi = exact.policy_table(policy, p)
        value, q = exact.values(p, pi, gamma)
        often = exact.state_visits(p, pi)
        truth = exact.gradient(policy, p, gamma)
    length = float(often.sum())
    spread = torch.zeros(p.horizon + 1, 3, dtype=torch.float64)  # Var[G|t, s]
    rest = action = state = 0.0
    for t in reversed(range(p.horizon)):
        of_pair = torch.zeros(3, 2, dtype=torch.float64)  # Var[G|t, s, a]
        for s in range(3):
            for a in range(2):
                for chance, after, reward, over in env.unwrapped.P[s][a]:
                    later = 0.0 if over else float(value[t + 1, after])
                    of_pair[s, a] += chance * (reward + gamma * later - q[t, s, a]) ** 2
                    of_pair[s, a] += 0.0 if over else chance * gamma**2 * spread[t + 1, after]
        spread[t] = (pi * (of_pair + (q[t] - value[t][:, None]) ** 2)).sum(1)
        for s in range(3):
            g = torch.eye(2, dtype=torch.float64) - pi[s]  # scores of the two actions, in this state's logits
            mean = gamma**t * (pi[s][:, None] * q[t, s][:, None] * g).sum(0)
            squares = g.square().sum(1)
            weight = length * float(often[t, s])
            rest += weight * gamma ** (2 * t) * float((pi[s] * squares * of_pair[s]).sum())
            action += weight * float(
                (pi[s] * squares * (gamma**t * q[t, s]) ** 2).sum() - mean.square().sum()
            )
            state += weight * float(mean.square().sum())
    state -= float(truth.square().sum())
    reward_to_go = on_the_mdp()["reward_to_go"]
    assert [reward_to_go[name] for name in NAMES] == pytest.approx([state, action, rest], rel=1e-9)


def test_the_parts_add_up_and_a_baseline_of_the_state_moves_the_actions_part_alone() -> None:
    actual, wrong = on_the_mdp(), on_the_mdp("scaled")
    for one in (*actual.values(), *wrong.values()):
        assert one["total"] == pytest.approx(sum(one[name] for name in NAMES), rel=1e-12)
    plain = actual["reward_to_go"]
    for other in (actual["value_baseline"], wrong["value_baseline"], actual["none"]):
        assert [other["state"], other["rest"]] == pytest.approx([plain["state"], plain["rest"]], rel=1e-6)
        assert other["action"] != pytest.approx(plain["action"], rel=1e-2)
    assert actual["q"]["rest"] < 1e-12 < actual["q"]["action"]
    assert actual["q"]["action"] == pytest.approx(plain["action"], rel=1e-6)


def test_a_baseline_of_the_action_moves_more() -> None:
    """G − Q(s, a): given a it is a constant, but E[x|s] is gone, and the gradient with it. Given back, as it
    should be, it moves the action's part alone again, however wrong Q is; the right Q takes all of that.
    """
    actual, wrong = on_the_mdp(), on_the_mdp("scaled")
    control, plain = actual[CONTROL], actual["reward_to_go"]
    assert control["state"] < 1e-12 < 1e-3 < plain["state"]
    assert control["rest"] == pytest.approx(plain["rest"], rel=1e-6)
    for corrected in (actual["action_baseline"], wrong["action_baseline"]):
        kept = [corrected["state"], corrected["rest"]]
        assert kept == pytest.approx([plain["state"], plain["rest"]], rel=1e-6)
    assert actual["action_baseline"]["action"] < 1e-12 < 1e-3 < wrong["action_baseline"]["action"]


def test_the_sum_over_all_actions_leaves_the_state_alone() -> None:
    one = on_the_mdp()["all_actions"]
    assert one["action"] < 1e-12
    assert one["rest"] < 1e-12
    assert one["total"] == pytest.approx(on_the_mdp()["reward_to_go"]["state"], rel=1e-6)


def test_sampling_agrees_with_the_sum_over_all_episodes() -> None:
    line = "decompose.by=sampled decompose.states=80 decompose.actions=3 decompose.rests=3"
    schemes = "schemes=[none,value_baseline,all_actions,{action_baseline:{corrected:false}}]"
    for label, one in parts(f"{MDP} critic=exact {schemes} {line}").items():
        truth = on_the_mdp()[label]
        for name in (*NAMES, "total"):
            off = abs(one[name] - truth[name])
            assert off < 4 * one[f"{name}_se"] + 1e-9, (label, name, one, truth)
            assert one[f"{name}_se"] < 0.6 * truth["total"] + 1e-9


def test_nested_variances_are_unbiased() -> None:
    """On numbers whose parts are known; the errors too."""
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, 2, generator=draw, dtype=torch.float64)

    estimates = []
    for _ in range(60):
        n, actions, rests = 30, 3, 2
        x = 1 + normal(n, 1, 1) + 2 * normal(n, actions, 1) + 3 * normal(n, actions, rests)
        moments, mean = zip(*(visit_moments(one) for one in x), strict=True)
        length = torch.full((n,), 2.0, dtype=torch.float64)
        estimates.append(estimate_parts(length, torch.stack(moments), torch.stack(mean)))
    for name, variance in (("state", 2.0), ("action", 8.0), ("rest", 18.0), ("total", 28.0)):
        actual = torch.tensor([getattr(one, name) for one in estimates])
        told = torch.tensor([getattr(one, f"{name}_se") for one in estimates])
        assert abs(actual.mean() / 4 - variance) < 4 * actual.std() / 4 / 60**0.5  # L² = 4
        assert 0.7 < told.mean() / actual.std() < 1.4


def test_states_without_a_table_are_put_back() -> None:
    """LQ1 of one step: nothing is left to vary once s and a are given; of two steps, something is."""
    schemes = "schemes=[reward_to_go,mean_baseline]"
    line = f"env=pgrun/LQ1-v0 network.hidden=[] critic=none {schemes} batch=2 episodes=4"
    sampled = "decompose.by=auto decompose.states=10 decompose.actions=2 decompose.rests=2"
    for steps in (1, 2):
        result = study(f"{line} env.max_episode_steps={steps} {sampled}")["decompose"]
        assert result["by"] == "sampled"
        reward_to_go = result["schemes"]["reward_to_go"]
        assert set(reward_to_go) == set(Parts.__dataclass_fields__)
        assert (reward_to_go["rest"] == 0) == (steps == 1)
        assert reward_to_go["total"] == pytest.approx(sum(reward_to_go[name] for name in NAMES))
        assert "compares episodes" in result["left_out"]["mean_baseline"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("env=CartPole-v1 decompose.by=exact", "env=CartPole-v1 publishes no transition table"),
        ("env=FrozenLake-v1 policy.theta=null decompose.by=exact", "env=FrozenLake-v1 has too many episodes"),
        ("env=Blackjack-v1 decompose.by=auto", "decompose: puts visited states back, and env=Blackjack-v1"),
        (
            "env=pgrun/OneState-v0 policy.theta=0.5 behaviour.theta=0.4 weights=[per_step] decompose.by=auto",
            "decompose: the terms of schemes",
        ),
        ("env=CartPole-v1 decompose.by=sampled decompose.rests=1", "decompose.rests=1: must be ≥ 2"),
    ],
)
def test_refusals(line: str, said: str) -> None:
    jobs = compose_jobs(read_command([*line.split(), "critic=none"], STUDY))
    wrong = find_study_problems(jobs.composed[0])
    assert any(said in one.sentence() for one in wrong), wrong
