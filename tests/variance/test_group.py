"""Group baselines on a language model that is a table: moments over every group, and identities."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pgrun import exact
from pgrun.variance.group import Group
from pgrun.variance.leave_one_out import LeaveOneOut
from pgrun.variance.none import None_
from tests.helpers.support_enumerate import used_gradient, world
from tests.helpers.support_exact import EXACT, FAR, error
from tests.helpers.support_groups import Shares, every_group, gradients, moments, tree

SMALL = {"words": 2, "length": 2, "prompts": 2, "noise": 0.8}


def test_the_enumeration_is_whole() -> None:
    """Chances sum to 1, and the estimate that compares nothing has mean ∇J, whatever is shared."""
    one = tree(**SMALL | {"words": 1})
    truth = exact.gradient(one.policy, one.p, 0.9)
    assert truth.norm() > FAR
    for shares in ("nothing", "start", "seed"):
        chance = every_group(one, 2, shares)[1]
        assert float(chance.sum()) == pytest.approx(1, abs=1e-12)
        assert error(moments(one, None_(), 2, shares, gamma=0.9)[0], truth) < EXACT


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shares", ["start", "seed"])
def test_rloo_is_unbiased_whatever_the_group_shares(size: int, shares: Shares) -> None:
    """The start alone, or the environment's noise as well (common random numbers)."""
    one = tree(**SMALL | ({} if size == 2 else {"prompts": 1}))
    if size == 3 and shares == "start":
        one = tree(**SMALL | {"prompts": 1, "words": 1})
    truth = exact.gradient(one.policy, one.p, 1.0)
    assert truth.norm() > FAR
    assert error(moments(one, Group(), size, shares)[0], truth) < EXACT


def test_what_is_shared_lowers_the_variance() -> None:
    """Exact variances of one group of two: episodes from any prompt, from one prompt, with the same noise
    too.
    """
    one = tree(**SMALL)
    apart, start, noise = (moments(one, Group(), 2, shares)[1] for shares in ("nothing", "start", "seed"))
    assert noise < 0.8 * start < 0.8 * apart


@pytest.mark.parametrize("size", [2, 3])
def test_dr_grpo_is_short_by_its_own_share_of_the_mean(size: int) -> None:
    """(K−1)/K times rloo: vector for vector, so also in the mean."""
    one = tree(**SMALL | {"prompts": 1, "words": 1})
    rollout, chance = every_group(one, size, "start")
    short, whole = (gradients(one, rollout, Group(kind), size) for kind in ("dr_grpo", "rloo"))
    assert error(short, (size - 1) / size * whole) < EXACT
    truth = exact.gradient(one.policy, one.p, 1.0)
    assert error(chance @ short, (size - 1) / size * truth) < EXACT


def test_rloo_of_one_group_is_leave_one_out_of_the_batch() -> None:
    every_episode = world("both")[2]
    keep = torch.multinomial(every_episode.probability, 6, True, generator=torch.Generator().manual_seed(4))
    whole = replace(every_episode.rollout.columns(keep), group=6)
    value = torch.zeros_like(whole.obs[..., 0])
    assert error(Group().psi(whole, value, 0.9), LeaveOneOut().psi(whole, value, 0.9)) < EXACT
    thirds = Group().psi(replace(whole, group=2), value, 0.9)
    assert error(thirds, LeaveOneOut().psi(whole, value, 0.9)) > FAR


def test_grpo_of_two_right_or_wrong_answers() -> None:
    """By hand: with K = 2 and R ∈ {0, 1} a group of one of each has Ψ = ±1/√2, others 0."""
    one = tree(words=2, length=2, rule="answer")
    rollout, _ = every_group(one, 2, "start")
    right = (rollout.mask * rollout.reward).sum(0).view(-1, 2)
    psi = Group("grpo").psi(rollout, torch.zeros_like(rollout.obs[..., 0]), 1.0)
    by_hand = (right - right.flip(1)) / 2**0.5
    assert error(psi[0].view(-1, 2), by_hand) < 1e-7  # ε beside σ = 1/√2
    assert by_hand.abs().max() > 0.5


def test_grpo_is_biased_and_not_by_a_factor() -> None:
    """A close pair counts as much as a distant one. Of two right or wrong answers it is 1/√2 of rloo."""
    graded = tree(words=2, length=2, seed=2)
    truth = exact.gradient(graded.policy, graded.p, 1.0)
    actual, _ = moments(graded, Group("grpo"), 2, "start")
    assert torch.cosine_similarity(actual, truth, dim=0) < 0.99
    straight, _ = moments(graded, Group("dr_grpo"), 2, "start")
    assert torch.cosine_similarity(straight, truth, dim=0) > 1 - 1e-12
    marked = tree(words=2, length=2, prompts=2, rule="answer", seed=2)
    actual, _ = moments(marked, Group("grpo"), 2, "start")
    assert error(actual, exact.gradient(marked.policy, marked.p, 1.0) / 2**0.5) < 1e-8


def test_equal_returns_teach_nothing() -> None:
    """In float32 three times 0.1 has another mean than 0.1, and that error ÷ ε would be a large weight."""
    total = torch.full((6,), 0.1)
    for kind in ("rloo", "grpo", "dr_grpo"):
        assert Group(kind).compare_returns(total, 3).abs().max() == 0


def test_lengths() -> None:
    """Against the formulas of the papers, written as sums over tokens; each is another gradient."""
    one = tree(**SMALL | {"noise": 0.0})
    rollout, _ = every_group(one, 2, "start")
    some = rollout.columns(torch.arange(40, 52))
    scores = one.policy.scores(some.obs[:-1].flatten(0, 1), some.action.flatten())
    tokens = scores.sums(some.mask.flatten(), some.mask.numel()).view(*some.mask.shape, -1)  # ∇log π, or 0
    value, n = torch.zeros_like(some.obs[..., 0]), some.mask.shape[1]
    advantage = Group().compare_returns((some.mask * some.reward).sum(0), 2)
    by_episode = (advantage[:, None] * tokens.sum(0)) / some.mask.sum(0)[:, None]
    wanted = {
        "constant": (advantage[:, None] * tokens.sum(0)).sum(0) / (n * 7),
        "episode": by_episode.sum(0) / n,
        "batch": (advantage[:, None] * tokens.sum(0)).sum(0) / some.mask.sum(),
    }
    collected = {}
    for length in wanted:
        scheme = Group(length=length, constant=7)  # type: ignore[arg-type]
        psi = some.mask * scheme.psi(some, value, 1.0)
        collected[length] = scores.sums(psi.flatten(), 1)[0] / n
        assert error(collected[length], wanted[length]) < EXACT
    assert error(collected["episode"], collected["batch"]) > 1e-3


def test_what_is_enumerated_is_what_an_update_uses() -> None:
    from pgrun.algorithms.estimator import Estimator

    one = tree(**SMALL)
    rollout, _ = every_group(one, 2, "seed")
    part = rollout.columns(torch.arange(4))
    value = torch.zeros_like(part.obs[..., 0])
    for scheme in (Group(), Group("grpo", "batch")):
        used = used_gradient(one.policy, part, value, Estimator(scheme, 1.0))
        assert error(used, gradients(one, part, scheme, 4)[0]) < EXACT
