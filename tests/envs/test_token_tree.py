"""The language model that is a table: every text by hand, J and ∇J from all of them, and what is refused."""

from __future__ import annotations

import itertools

import gymnasium as gym
import pytest
import torch

import pgrun.envs.problems.registration  # noqa: F401
from pgrun import exact
from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.make import make_one
from pgrun.envs.problems.token_tree import token_tree
from pgrun.envs.table import TableEnvs
from pgrun.envs.vector import Loop
from pgrun.errors import InvalidCommand
from pgrun.policies.distributions import Categorical
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import NoStateNorm
from pgrun.policies.policy import Policy
from tests.helpers.support_exact import EXACT, FAR, error

GAMMA = 0.9


def texts(words: int, length: int) -> list[tuple[int, ...]]:
    """The tokens of every finished text, with the end token where it has one: written without the table."""
    ended = [(*w, words) for n in range(length) for w in itertools.product(range(words), repeat=n)]
    return ended + list(itertools.product(range(words), repeat=length))


def state_of(prefix: tuple[int, ...], words: int, prompt: int, length: int) -> int:
    """The number of a prefix in the order of length, then of the words as digits."""
    before = sum(words**n for n in range(len(prefix)))
    tree = sum(words**n for n in range(length))
    return prompt * tree + before + sum(w * words**k for k, w in enumerate(reversed(prefix)))


@pytest.mark.parametrize(("words", "length", "prompts"), [(2, 3, 1), (3, 2, 2), (1, 4, 1)])
@torch.enable_grad()
def test_the_objective_is_the_sum_over_all_texts(words: int, length: int, prompts: int) -> None:
    """J and ∇J of ``pgrun.exact`` beside Σ p(text)·grade, its derivative by autograd."""
    env = gym.make("pgrun/TokenTree-v0", words=words, length=length, prompts=prompts, seed=3)
    p, law = exact.read_problem(env), env.unwrapped.P
    assert p.horizon == length
    assert len(p.start) == prompts * sum(words**n for n in range(length))
    rng = torch.Generator().manual_seed(0)
    theta = torch.randn((words + 1) * len(p.start), generator=rng, dtype=torch.float64).requires_grad_()
    log_pi = theta.view(words + 1, -1).T.log_softmax(-1)
    total, mass = torch.zeros(()), torch.zeros(())
    for prompt, text in itertools.product(range(prompts), texts(words, length)):
        states = [state_of(text[:t], words, prompt, length) for t in range(len(text))]
        chance = sum(log_pi[s, a] for s, a in zip(states, text, strict=True)).exp() / prompts
        ((_, _, grade, over),) = law[states[-1]][text[-1]]
        assert over
        total, mass = total + chance * GAMMA ** (len(text) - 1) * grade, mass + chance
    assert float(mass.detach()) == pytest.approx(1, abs=1e-12)
    (slope,) = torch.autograd.grad(total, theta)
    policy = Policy(
        Mlp([len(p.start), words + 1], bias=False), Categorical(words + 1), theta.detach(), NoStateNorm()
    )
    with torch.no_grad():
        assert abs(float(exact.objective(p, exact.policy_table(policy, p), GAMMA) - total)) < EXACT
        assert error(exact.gradient(policy, p, GAMMA), slope) < EXACT
    assert slope.norm() > FAR


def grades(rule: str, **kwargs: int) -> dict[tuple[int, tuple[int, ...]], float]:
    env = token_tree(rule=rule, **kwargs)
    words, length, prompts = len(env.P[0]) - 1, kwargs["length"], kwargs.get("prompts", 1)
    return {
        (prompt, text): env.P[state_of(text[:-1], words, prompt, length)][text[-1]][0][2]
        for prompt, text in itertools.product(range(prompts), texts(words, length))
    }


def test_the_answer_is_the_last_word() -> None:
    actual = grades("answer", words=2, length=3, prompts=2)
    assert len(actual) == 2 * 15
    for (prompt, text), grade in actual.items():
        said = [w for w in text if w < 2]
        assert grade == float(said[-1:] == [prompt])


def test_the_table_is_drawn_by_its_seed() -> None:
    one, same, other = (grades("table", length=3, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert len(set(one.values())) == 15
    assert not set(one.values()) & set(other.values())


def test_levels_raise_all_grades_of_a_prompt() -> None:
    """And leave ∇J alone."""
    plain, raised = (grades("table", length=2, prompts=3, **kwargs) for kwargs in ({}, {"level": 2}))
    assert all(raised[p, text] == pytest.approx(plain[p, text] + 2 * (p + 1)) for p, text in plain)


def test_noise_leaves_the_objective_alone() -> None:
    plain, noisy = (exact.read_problem(gym.make("pgrun/TokenTree-v0", noise=x)) for x in (0.0, 2.0))
    assert error(plain.reward, noisy.reward) < EXACT
    assert torch.equal(plain.transition, noisy.transition)
    env = token_tree(noise=2.0)
    assert {round(r, 9) for _, _, r, _ in env.P[0][0]} == {2.0, -2.0}


def test_it_is_played_as_its_table_says() -> None:
    """All columns in one program; the single environment and the program see the same."""
    settings = EnvSettings("pgrun/TokenTree-v0", 3, None, {"words": 2, "length": 3})
    table, loop = make_envs(settings, 3), Loop(lambda: make_one(settings), 3)
    assert isinstance(table, TableEnvs)
    for envs in (table, loop):
        envs.reset([1, 2, 3])
        envs.follow_states()
    actions = torch.tensor([[0, 1, 2], [1, 2, 0], [1, 0, 0], [0, 1, 0], [2, 2, 2]]).numpy()
    for action in actions:
        ours, theirs = table.step(action), loop.step(action)
        assert all((x == y).all() for x, y in zip(ours, theirs, strict=True))
        assert (table.state == loop.state).all()
    assert table.state.tolist() != [0, 0, 0]


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"words": 0}, "words=0: must be an integer in"),
        ({"length": 12}, "length=12, prompts=1: more than 1000 states"),
        ({"words": 900, "length": 900}, "more than 1000 states"),
        ({"rule": "best"}, "rule=best: must be one of table, answer"),
        ({"noise": -1.0}, "noise=-1.0: must be a finite number"),
    ],
)
def test_what_cannot_be_made_is_refused(kwargs: dict, said: str) -> None:
    with pytest.raises(InvalidCommand, match=said):
        make_one(EnvSettings("pgrun/TokenTree-v0", 1, None, kwargs))
