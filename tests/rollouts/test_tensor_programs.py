"""Classic control on the policy's device: the kernels' numbers to rounding, the ordinary path's rollouts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.make import make_one
from pgrun.envs.tensor_program import TENSOR_PROGRAMS, TensorProgram
from pgrun.rollouts.samplers.steps import Steps
from pgrun.training.backends import choose_envs
from pgrun.training.captured_learner import CapturedLearner
from tests.helpers.support_device import build_on, loop
from tests.helpers.support_fake_cuda import FakeCuda
from tests.helpers.support_pipeline import settings
from tests.helpers.support_programs import program

SMALL: dict[str, Any] = {"env.num_envs": 3, "sampler.steps": 12, "env.max_episode_steps": 5}


def tensor_program(name: str, columns: int, limit: int | None = None) -> TensorProgram:
    return TensorProgram(make_one(EnvSettings(name, columns, limit)), columns, "cpu")


@pytest.mark.parametrize("name", TENSOR_PROGRAMS)
def test_steps_are_the_kernels(name: str) -> None:
    """From the same states under the same actions, ends and time limits included. In float64 a step's sines
    differ by an ulp, 2e-16 of them; rewards and states are sums of a few of them.
    """
    ours, theirs = tensor_program(name, 6, 40), program(name, 6, 40)
    theirs.reset(list(range(6)))
    ours.reset([1])
    rng, compared, ends = np.random.default_rng(0), 0, 0
    for _ in range(200):
        fresh = theirs.ended.copy()
        if name == "Pendulum-v1":
            action = rng.normal(size=(6, 1)).astype(np.float32)
        else:
            action = rng.integers(0, 2, 6)
        ours.place.copy_(torch.from_numpy(theirs.place[:, : ours.place.shape[1]]))
        ours.steps.copy_(torch.from_numpy(theirs.steps))
        ours.over.copy_(torch.from_numpy(fresh))
        mine, other = ours.step(action), theirs.step(action)
        live = ~fresh
        np.testing.assert_allclose(mine[0], other[0], rtol=1e-6 if name == "Pendulum-v1" else 0)
        for x, y in zip(mine[1:], other[1:], strict=True):
            assert np.array_equal(x, y)
        place = theirs.place[:, : ours.place.shape[1]]
        np.testing.assert_allclose(ours.place.numpy()[live], place[live], rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.obs[live], theirs.obs[live], rtol=0, atol=1e-6)
        compared, ends = compared + live.sum(), ends + fresh.sum()
    assert compared > 800
    assert ends > 10


@pytest.mark.parametrize("name", TENSOR_PROGRAMS)
def test_first_states_are_gymnasiums(name: str) -> None:
    """The law of gymnasium's own: uniform, between its bounds."""
    ours, theirs = tensor_program(name, 4000), program(name, 4000)
    ours.reset([3])
    theirs.reset(list(range(4000)))
    place = theirs.place[:, : ours.place.shape[1]]
    drawn = ours.place.numpy()
    np.testing.assert_allclose(np.abs(drawn).max(0), np.abs(place).max(0), rtol=0.01)
    assert (np.abs(drawn.mean(0)) < 4 * place.std(0) / 4000**0.5).all()  # four standard errors
    np.testing.assert_allclose(drawn.std(0), place.std(0), rtol=0.05)


@pytest.mark.parametrize("words", [(), ("state_norm=true", "reward_scaling=true")], ids=["plain", "norms"])
@pytest.mark.parametrize("name", TENSOR_PROGRAMS)
def test_a_rollout_is_the_ordinary_paths(name: str, words: tuple[str, ...], monkeypatch) -> None:
    """The same columns played step by step through arrays: every field of three rollouts and updates, in
    every bit, and the episodes that ended.
    """
    monkeypatch.setattr("pgrun.policies.policy.NumpyActor", Acting)
    given = settings("algo=ppo", f"env={name}", *words, **SMALL)
    runs = []
    for _ in range(2):
        run = build_on("cpu", given)
        run.envs = tensor_program(name, 3, 5)
        run.policy.normaliser.widen_observations(run.envs)
        run.envs.reset([7])
        runs.append(run)
    ours, theirs = runs
    draws = torch.Generator().manual_seed(5)
    for _ in range(3):
        starts = torch.rand(12, *ours.envs.place.shape, dtype=torch.float64, generator=draws)
        give_starts(ours.envs, starts)
        give_starts(theirs.envs, starts)
        mine, finished = ours.sampler.collect(ours.policy, ours.envs, ours.noise, ours.scale)
        monkeypatch.setattr(TensorProgram, "on_device", False)
        other, expected = theirs.sampler.collect(theirs.policy, theirs.envs, theirs.noise, theirs.scale)
        monkeypatch.setattr(TensorProgram, "on_device", True)
        for field in fields(mine):
            x, y = getattr(mine, field.name), getattr(other, field.name)
            same = torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
            assert same, field.name
        assert [length for _, length in finished] == [length for _, length in expected]
        np.testing.assert_allclose([r for r, _ in finished], [r for r, _ in expected], rtol=1e-12)
        for run, rollout in ((ours, mine), (theirs, other)):
            loop.update_from_rollout(run, rollout, loop.Counters())
    assert torch.equal(ours.policy.theta, theirs.policy.theta)
    assert len(finished) >= 3


def Acting(policy: Any) -> Any:
    """The actor of a device, which adds up as the player does."""
    from pgrun.policies.policy import TorchActor

    return TorchActor(policy)


def give_starts(envs: TensorProgram, starts: torch.Tensor) -> None:
    """Have it begin episodes at these states [T, N, S], whichever way they are asked for."""
    left = list(starts)

    def draw_starts(steps: int) -> torch.Tensor:
        return torch.stack([left.pop(0) for _ in range(steps)]) if len(left) >= steps else starts[:steps]

    envs.draw_starts = draw_starts  # type: ignore[method-assign]


def test_it_goes_on_bit_for_bit() -> None:
    first, second = tensor_program("CartPole-v1", 3, 6), tensor_program("CartPole-v1", 3, 6)
    first.reset([1])
    second.reset([2])
    rng = np.random.default_rng(0)
    for t in range(20):
        second.load_state_dict(first.state_dict())
        action = rng.integers(0, 2, 3)
        for x, y in zip(first.step(action), second.step(action), strict=True):
            assert np.array_equal(x, y), t
        assert np.array_equal(first.obs, second.obs)


def test_one_rule_says_where_columns_are() -> None:
    """On the device where that is CUDA, rollouts have a length, and there is a program."""

    def kind(name: str, device: str = "cuda:0", sampler: str = "steps", **given: Any) -> type:
        return type(choose_envs(make_envs(EnvSettings(name, 2, **given), 2), device, sampler))

    with FakeCuda():
        assert kind("CartPole-v1") is kind("Pendulum-v1", sampler="replay") is TensorProgram
        for other in (
            kind("CartPole-v1", device="cpu"),
            kind("CartPole-v1", sampler="episodes"),
            kind("CartPole-v1", vector="loop"),
            kind("MountainCar-v0"),
            kind("Pendulum-v1", kwargs={"g": 9.0}),
        ):
            assert other is not TensorProgram


@pytest.mark.parametrize("name", TENSOR_PROGRAMS)
def test_a_rollout_waits_for_its_episodes_and_its_rows_alone(name: str) -> None:
    """Twice, however many steps it has; the host's environments wait twice a step."""
    with FakeCuda() as device:
        run, counters = build_on("cuda", settings("algo=ppo", f"env={name}", **SMALL)), loop.Counters()
        assert isinstance(run.envs, TensorProgram)
        assert isinstance(run.sampler, Steps)
        for _ in range(2):
            loop.collect_and_update(run, counters, loop.Clock())
        with device.counting() as syncs:
            counters.add(*run.sampler.collect(run.policy, run.envs, run.noise, run.scale))
    places = [sync.partition(" (")[0] for sync in syncs]
    assert places == ["rollouts/tensor_player.py: read_finished", "types.py: live_rows"]
    assert counters.env_steps > 60


@pytest.mark.parametrize(
    "words", [("algo=ppo", "network=shared"), ("algo=a2c", "algo.minibatches=2")], ids=str
)
def test_an_update_made_to_be_captured_is_the_ordinary_one(words: tuple[str, ...]) -> None:
    """In every bit, over three updates and rollouts of their own."""
    given = settings(*words, "optimizer.schedule=constant", **SMALL)
    runs = [build_on("cpu", given) for _ in range(2)]
    runs[0].learner = CapturedLearner.of(runs[0].learner)
    for _ in range(3):
        for run in runs:
            rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
            loop.update_from_rollout(run, rollout, loop.Counters())
    assert runs[0].learner.held is not None
    assert torch.equal(runs[0].policy.theta, runs[1].policy.theta)
    states = [run.learner.optimizer.state for run in runs]
    assert all(torch.equal(states[0][name], x) for name, x in states[1].items())


@pytest.mark.parametrize(
    "word",
    ["optimizer.schedule=linear", "algo.target_kl=0.1", "algo.clip_schedule=linear", "critic.fit=before"],
)
def test_updates_that_are_not_always_the_same_are_not_captured(word: str) -> None:
    run = build_on("cpu", settings("algo=ppo", word, **SMALL))
    run.learner = CapturedLearner.of(run.learner)
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    loop.update_from_rollout(run, rollout, loop.Counters())
    assert run.learner.held is None
