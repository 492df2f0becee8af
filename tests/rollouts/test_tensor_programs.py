"""Classic control on the policy's device: the kernels' numbers to rounding, the ordinary path's rollouts."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgrun.envs import EnvSettings, make_envs
from pgrun.envs.make import make_one
from pgrun.envs.program import KINDS
from pgrun.envs.tensor_motion import MOTIONS, wrap_angle_tensors
from pgrun.envs.tensor_program import TensorProgram
from pgrun.policies.families import Beta, Family, Squashed, connect_actions
from pgrun.rollouts.samplers.steps import Steps
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.backends import choose_envs
from pgrun.training.captured_learner import CapturedLearner
from tests.helpers.support_device import build_on, loop
from tests.helpers.support_fake_cuda import FakeCuda
from tests.helpers.support_pipeline import settings
from tests.helpers.support_programs import actions, program

SMALL: dict[str, Any] = {"env.num_envs": 3, "sampler.steps": 12, "env.max_episode_steps": 5}


def tensor_program(name: str, columns: int, limit: int | None = None) -> TensorProgram:
    return TensorProgram(make_one(EnvSettings(name, columns, limit)), columns, "cpu")


# Of a state's and a reward's numbers. In float64 sines differ by an ulp, 2e-16 of them, and a step adds up a
# few; Pendulum's torque is float32 in the kernel, 6e-8 of it.
EXACT, TORQUE = 1e-12, 1e-6
BRINK: dict[str, Any] = {  # states near a terminal one or a wall: few episodes come there
    "MountainCar-v0": [(0.49, 0.05), (-1.19, -0.05)],
    "MountainCarContinuous-v0": np.float32([(0.44, 0.05), (-1.19, -0.05)]),
    "Acrobot-v1": [(1.95, 0.0, 2.0, 0.0)],
}


@pytest.mark.parametrize("name", MOTIONS)
def test_steps_are_the_kernels(name: str) -> None:
    """From the same states under the same actions, ends and time limits included; observations are equal to
    the last bit but one of float32.
    """
    near = TORQUE if name == "Pendulum-v1" else EXACT
    ours, theirs = tensor_program(name, 6, 60), program(name, 6, 60)
    theirs.reset(list(range(6)))
    ours.reset([1])
    rng, compared, ends = np.random.default_rng(0), 0, Counter[str]()
    for _ in range(400):
        fresh, before = theirs.ended.copy(), theirs.place[:, : ours.place.shape[1]].copy()
        if name in BRINK:
            moved = (rng.random(6) < 0.04) & (theirs.steps > 0)
            before[moved] = rng.choice(BRINK[name], int(moved.sum()))
            theirs.place[:, : ours.place.shape[1]] = before
        action = actions(theirs, rng)
        ours.place.copy_(torch.from_numpy(before))
        ours.steps.copy_(torch.from_numpy(theirs.steps))
        ours.over.copy_(torch.from_numpy(fresh))
        mine, other = ours.step(action), theirs.step(action)
        live = ~fresh
        np.testing.assert_allclose(mine[0], other[0], rtol=near, atol=0)
        for x, y in zip(mine[1:], other[1:], strict=True):
            assert np.array_equal(x, y)
        place = theirs.place[:, : ours.place.shape[1]]
        np.testing.assert_allclose(ours.place.numpy()[live], place[live], rtol=0, atol=near)
        np.testing.assert_allclose(ours.obs[live], theirs.obs[live], rtol=2**-23, atol=near)
        compared += live.sum()
        ends.update({"terminated": other[1].sum(), "truncated": other[2].sum()})
    assert compared > 2000
    assert (ends["terminated"] > 3) == (name != "Pendulum-v1"), ends
    assert ends["truncated"] > 3 or name == "CartPole-v1", ends


def test_every_compiled_program_has_its_tensors() -> None:
    assert MOTIONS.keys() == KINDS.keys()


def test_angles_are_wrapped_by_whole_turns() -> None:
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    wrapped = wrap_angle_tensors(x)
    assert (wrapped.abs() <= torch.pi + 1e-12).all()
    torch.testing.assert_close(torch.polar(x * 0 + 1, x), torch.polar(x * 0 + 1, wrapped), atol=1e-14, rtol=0)
    inside = x[x.abs() < torch.pi]
    assert torch.equal(wrap_angle_tensors(inside), inside)


@pytest.mark.parametrize("name", MOTIONS)
def test_first_states_are_gymnasiums(name: str) -> None:
    """The law of gymnasium's own: uniform, between its bounds; in float32 where its are."""
    ours, theirs = tensor_program(name, 4000), program(name, 4000)
    ours.reset([3])
    theirs.reset(list(range(4000)))
    place = theirs.place[:, : ours.place.shape[1]]
    drawn, width = ours.place.numpy(), np.ptp(place, axis=0)
    np.testing.assert_allclose(drawn.min(0), place.min(0), atol=0.01 * width.max())
    np.testing.assert_allclose(drawn.max(0), place.max(0), atol=0.01 * width.max())
    error = (2 / 4000) ** 0.5 * place.std(0)  # of the difference of two means
    assert (np.abs(drawn.mean(0) - place.mean(0)) <= 4 * error).all()
    np.testing.assert_allclose(drawn.std(0), place.std(0), rtol=0.05)
    single = [np.array_equal(x, x.astype(np.float32)) for x in (drawn, place)]
    assert single[0] == single[1] == (name == "Acrobot-v1")


@pytest.mark.parametrize("words", [(), ("state_norm=true", "reward_scaling=true")], ids=["plain", "norms"])
@pytest.mark.parametrize("name", MOTIONS)
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


def test_draws_become_the_actions_that_the_host_makes_of_them() -> None:
    """Of policies whose draws are no actions yet: torque 2 tanh u."""
    run = build_on("cpu", settings("algo=ppo", "env=Pendulum-v1", "policy=squashed", **SMALL))
    ours = tensor_program("Pendulum-v1", 3)
    connect_actions(run.policy.dist, ours)
    drawn = torch.tensor([[-2.0], [0.3], [1.0]])
    torch.testing.assert_close(ours.force(drawn), 2 * drawn.flatten().double().tanh())
    host = torch.from_numpy(np.asarray(run.envs.decode(drawn.numpy()), float)).flatten()
    torch.testing.assert_close(ours.force(drawn), host)


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


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """With the first states that the one before would have drawn."""
    given = settings("algo=ppo", "env=CartPole-v1", "trainer.stack_seeds=true", **SMALL)
    first, second = build_on("cpu", given), build_on("cpu", given)
    for run, updates in ((first, 2), (second, 0), (first, 2), (second, 2)):
        if run is second and not updates:
            Checkpoints(tmp_path).save(1, first.state_dict())
            second.load_state_dict(Checkpoints(tmp_path).load()[0])
        for _ in range(updates):
            loop.collect_and_update(run, loop.Counters(), loop.Clock())
    assert torch.equal(first.policy.theta, second.policy.theta)
    for name, x in first.envs.state_dict().items():
        assert np.array_equal(x, second.envs.state_dict()[name]), name


def test_one_rule_says_where_columns_are() -> None:
    """On the device where that is CUDA, rollouts have a length, and there is a program."""

    def kind(
        name: str, device: str = "cuda:0", sampler: str = "steps", family: Family | None = None, **given: Any
    ) -> type:
        envs = make_envs(EnvSettings(name, 2, **given), 2)
        return type(choose_envs(envs, device, sampler, family or Squashed()))

    with FakeCuda():
        assert kind("CartPole-v1") is kind("Pendulum-v1", sampler="replay") is TensorProgram
        for other in (
            kind("CartPole-v1", device="cpu"),
            kind("CartPole-v1", sampler="episodes"),
            kind("CartPole-v1", vector="loop"),
            kind("FrozenLake-v1"),
            kind("Pendulum-v1", kwargs={"g": 9.0}),
            kind("Pendulum-v1", family=Beta()),  # draws by a function that the device has not
        ):
            assert other is not TensorProgram


@pytest.mark.parametrize("name", MOTIONS)
def test_a_rollout_waits_for_its_episodes_and_its_rows_alone(name: str) -> None:
    """Twice, however many steps it has; the host's environments wait twice a step."""
    with FakeCuda() as device:
        brief = settings("algo=ppo", f"env={name}", **SMALL | {"algo.epochs": 1, "algo.minibatches": 1})
        run, counters = build_on("cuda", brief), loop.Counters()
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
    [
        *("optimizer.schedule=linear", "critic.optimizer.schedule=cosine", "algo.target_kl=0.1"),
        *("algo.clip_schedule=linear", "algo.entropy_schedule=linear", "algo.entropy_schedule=kl"),
        "critic.fit=before",
    ],
)
def test_updates_that_are_not_always_the_same_are_not_captured(word: str) -> None:
    run = build_on("cpu", settings("algo=ppo", "tuned=none", word, **SMALL))
    assert settings("algo=ppo", "tuned=none", **SMALL)["optimizer"]["schedule"] == "constant"
    run.learner = CapturedLearner.of(run.learner)
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    loop.update_from_rollout(run, rollout, loop.Counters())
    assert run.learner.held is None
