"""Whole rollouts in one compiled call: what the samplers record step by step in gymnasium's environments."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from pgrun.envs.program import KINDS
from pgrun.envs.vector import Envs
from pgrun.errors import EnvironmentFault
from pgrun.kernels.acting import act_rows
from pgrun.kernels.collecting import collect_rows
from pgrun.policies.compiled_actor import CompiledActor, can_act
from pgrun.policies.normalization import NoRewardScale, NoStateNorm, RunningNorm
from pgrun.policies.policy import NumpyActor, Policy, Separate, distribution_for
from pgrun.policies.rescaled import Rescaled
from pgrun.rollouts.samplers.base import find_player
from pgrun.rollouts.samplers.episodes import Episodes, Evaluation
from pgrun.rollouts.samplers.replay import Replay
from pgrun.rollouts.samplers.steps import Steps
from pgrun.types import Rollout
from tests.helpers.support_pipeline import draw
from tests.helpers.support_programs import gymnasiums, program, streams

ROUNDED = {"params", "log_prob"}  # equal to torch's to rounding; everything else to the bit
LIMIT = 50


def policy_for(envs: Envs, normalised: bool = False, head: bool = False, **network: Any) -> Policy:
    """Far from uniform; before the first reset."""
    normaliser: NoStateNorm | RunningNorm = NoStateNorm()
    if normalised:
        normaliser = RunningNorm(envs.obs_size)
        normaliser.widen_observations(envs)
        normaliser.mean[:], normaliser.scale[:] = 0.1, 7.0
    network = {"hidden": (13, 8), "policy_gain": 1.0, **network}
    policy = Separate(**network).policy(
        envs.obs_size, distribution_for(envs.action_space), normaliser, head, draw(5)
    )
    policy.compiled = True  # as a compiled run has it
    return policy


def same(ours: Rollout, theirs: Rollout) -> None:
    for name, x in vars(theirs).items():
        y = getattr(ours, name)
        if not isinstance(x, torch.Tensor):
            assert x == y, name
            continue
        assert (x.dtype, x.shape) == (y.dtype, y.shape), name
        if name in ROUNDED:
            torch.testing.assert_close(y, x, rtol=1e-5, atol=3e-6)
        else:
            assert torch.equal(x, y), name


@pytest.fixture
def one_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both paths act with the same roundings, so that trajectories are comparable to the bit."""
    monkeypatch.setattr(Policy, "actor", lambda policy: CompiledActor(policy))


def both(name: str, limit: int | None = LIMIT, **given: Any) -> list[tuple[Policy, Envs, torch.Generator]]:
    collected = []
    for envs in (program(name, 4, limit), gymnasiums(name, 4, limit)):
        envs.name = name
        policy = policy_for(envs, **given)
        envs.reset([1, 2, 3, 4])
        collected.append((policy, envs, draw(1)))
    return collected


CASES = {
    "plain": {},
    "state_norm": {"normalised": True},
    "a value head, relu, no bias": {"head": True, "activation": "relu", "bias": False},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", KINDS)
def test_steps_are_todays(name: str, case: str, one_actor: None) -> None:
    """Over rollouts that end amid episodes; what goes on from one to the next too."""
    (ours, theirs) = both(name, **CASES[case])
    ends = 0
    for steps in (37, 1, 2, 60):
        (rollout, finished), (wanted, episodes) = (
            Steps(steps).collect(*x, NoRewardScale()) for x in (ours, theirs)
        )
        same(rollout, wanted)
        assert finished == episodes
        ends += len(finished)
    assert ends > 0
    for name in ("obs", "ended", "time", "episode_return", "episodes"):
        assert np.array_equal(getattr(ours[1], name), getattr(theirs[1], name)), name
    assert np.array_equal(streams(ours[1]), streams(theirs[1]))


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_episodes_are_todays(name: str, normalised: bool, one_actor: None) -> None:
    """Whole ones, ones that are cut, and those of an evaluation.

    More than one chunk of noise, and uneven shares.
    """
    (ours, theirs) = both(name, None if name == "Pendulum-v1" else 140, normalised=normalised)
    for sampler in (Episodes(6), Episodes(7, max_steps=20, at_cap="truncate"), Episodes(2)):
        got, wanted = (copy.copy(sampler).collect(*x, NoRewardScale()) for x in (ours, theirs))
        same(got[0], wanted[0])
        assert got[1] == wanted[1]
    for sampler in (Evaluation.of(6, None), Evaluation.of(3, 9)):
        got, wanted = (
            copy.copy(sampler).look(policy, envs, [5, 6, 7, 8]) for policy, envs, _ in (ours, theirs)
        )
        assert got == wanted
    assert np.array_equal(ours[1].episodes, theirs[1].episodes)
    assert np.array_equal(streams(ours[1]), streams(theirs[1]))


def test_evaluations_are_what_collecting_gives() -> None:
    policy, envs, _ = both("Acrobot-v1")[0]
    seeds, sampler = [5, 6, 7, 8], Evaluation.of(4, None)
    assert sampler.look(policy, envs, seeds) == sampler.collect(policy, envs, None, NoRewardScale(), seeds)[1]


def told(ask: Callable[[], object]) -> str:
    with pytest.raises(EnvironmentFault) as raised:
        ask()
    return str(raised.value)


def test_endless_episodes_are_told_alike(one_actor: None) -> None:
    (ours, theirs) = both("MountainCar-v0", None)
    for x in (ours, theirs):
        Episodes(4).collect(*x, NoRewardScale())
    mine, other = (
        told(lambda x=x: Episodes(4, max_steps=130).collect(*x, NoRewardScale())) for x in (ours, theirs)
    )
    assert mine == other
    assert "column 0, episode 1, step 130: the episode is still going" in mine


@pytest.mark.parametrize("sampler", [Steps(9), Episodes(4)], ids=str)
def test_what_is_not_finite_is_told_alike(sampler: Steps | Episodes, one_actor: None) -> None:
    (ours, theirs) = both("Pendulum-v1")
    for policy, _, _ in (ours, theirs):
        policy.theta[3] = np.nan
    mine, other = (told(lambda x=x: sampler.collect(*x, NoRewardScale())) for x in (ours, theirs))
    assert mine == other
    assert "column 0, episode 0, step 1: " in mine


def test_not_finite_logits_are_seen() -> None:
    policy, envs, noise = both("CartPole-v1")[0]
    policy.theta[3] = np.nan
    rollout, _ = Steps(3).collect(policy, envs, noise, NoRewardScale())
    assert rollout.params.isnan().any()
    assert rollout.log_prob.isnan().all()


def test_what_was_handed_out_stays() -> None:
    policy, envs, noise = both("Pendulum-v1", normalised=True)[0]
    rollouts = [Steps(7).collect(policy, envs, noise, NoRewardScale())[0] for _ in range(2)]
    copies = copy.deepcopy(rollouts)
    Steps(7).collect(policy, envs, noise, NoRewardScale())
    for rollout, kept in zip(rollouts, copies, strict=True):
        assert all(
            torch.equal(x, getattr(rollout, k)) for k, x in vars(kept).items() if isinstance(x, torch.Tensor)
        )


def test_a_replay_memory_is_filled_alike(one_actor: None) -> None:
    samplers, actual = [Replay(warmup=5), Replay(warmup=5)], both("CartPole-v1")
    for sampler, (policy, envs, noise) in zip(samplers, actual, strict=True):
        for _ in range(20):
            rollout, _ = sampler.collect(policy, envs, noise, NoRewardScale())
            sampler.recall(rollout, policy, NoRewardScale(), noise)
    mine, theirs = (sampler.state_dict() for sampler in samplers)
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-5, atol=3e-6)


def test_nothing_is_compiled_again() -> None:
    """For another environment, width, distribution, normaliser or sampler."""
    for name, given in (("CartPole-v1", {}), ("Pendulum-v1", {"normalised": True, "hidden": (5,)})):
        policy, envs, noise = both(name, **given)[0]
        Steps(3).collect(policy, envs, noise, NoRewardScale())
        Episodes(3).collect(policy, envs, noise, NoRewardScale())
        CompiledActor(policy)(envs.obs, None)
        CompiledActor(policy)(envs.obs, policy.dist.noise((4,), noise, torch.float32))
    assert len(collect_rows.signatures) == len(act_rows.signatures) == 1


# --- acting alone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_the_compiled_actor_acts_as_numpys(name: str, case: str) -> None:
    """Scores closer than rounding to a tie may differ: none of these 500 is."""
    envs = program(name, 1)
    policy = policy_for(envs, **CASES[case])
    obs = 3 * np.random.default_rng(0).normal(size=(500, envs.obs_size)).astype(envs.obs.dtype)
    noise = policy.dist.noise((500,), draw(), torch.float32)
    for given in (None, noise):
        ours, theirs = CompiledActor(policy)(obs, given), NumpyActor(policy)(obs, given)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=3e-6)
    one = np.concatenate([CompiledActor(policy)(obs[n : n + 1], noise[n : n + 1]) for n in range(20)])
    assert np.array_equal(one, CompiledActor(policy)(obs, noise)[:20]), "whatever the number of rows"


def test_policies_that_the_kernels_do_not_know_take_the_other_path() -> None:
    envs = program("CartPole-v1", 2)
    policy = policy_for(envs)
    assert can_act(policy)
    assert find_player(policy, envs) is not None
    for other in (policy.with_theta(policy.theta.double()), policy_for(envs, logit_scale=2.0)):
        assert not can_act(other)
        assert find_player(other, envs) is None
    assert isinstance(policy_for(envs, logit_scale=2.0).net, Rescaled)
    envs.reset([1, 2])
    rollout, _ = Steps(5).collect(policy_for(envs, logit_scale=2.0), envs, draw(), NoRewardScale())
    assert rollout.mask.all()
