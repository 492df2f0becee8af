"""What comes before and after an update on a device; and what the pretended device finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError

from pgrun.errors import Diverged
from pgrun.storage.checkpoint import Checkpoints
from tests.helpers.support_device import (
    EVERY_ROW,
    assert_equal,
    build_on,
    collect_rollout,
    loop,
    small_settings,
    take_state,
)
from tests.helpers.support_fake_cuda import FakeCuda, numbers_of

# --- what comes before and after an update --------------------------------------------------------------


@pytest.mark.parametrize("algo", ["ppo", "off_policy_ac", "trpo"])
def test_a_checkpoint_brings_all_of_it_back_onto_the_device(algo: str, tmp_path) -> None:
    words = ("state_norm=true", "reward_scaling=true")
    given = small_settings(algo, *words, **EVERY_ROW)
    with FakeCuda():
        first, counters = build_on("cuda", given), loop.Counters()
        for run in (first, build_on("cuda", given)):
            if run is not first:
                run.load_state_dict(Checkpoints(tmp_path).load()[0])
            rollout, finished = collect_rollout(run)
            counters.add(rollout, finished)
            loop.update_from_rollout(run, rollout, counters)
            if run is first:
                Checkpoints(tmp_path).save(1, numbers_of(run.state_dict()))
                rollout, finished = collect_rollout(run)
                counters.add(rollout, finished)
                loop.update_from_rollout(run, rollout, counters)
        assert_equal(numbers_of(take_state(first)), numbers_of(take_state(run)), "state")


def test_an_evaluation_acts_on_the_device() -> None:
    with FakeCuda():
        returns, steps = loop.evaluate_policy(build_on("cuda", small_settings("ppo", kind="gaussian")))
    assert np.isfinite(returns).all()
    assert steps >= 2


@pytest.mark.parametrize("rows", [{}, EVERY_ROW])
def test_numbers_that_explode_are_told_before_they_are_used(rows: dict[str, Any]) -> None:
    """In the update's own row, or where the next rollout begins; the update itself is not held up."""
    given = small_settings("a2c", **rows | {"optimizer.lr": 1e38})
    with FakeCuda():
        run, counters = build_on("cuda", given), loop.Counters()

        def advance_twice() -> None:
            for _ in range(2):
                loop.collect_and_update(run, counters, loop.Clock())

        with pytest.raises(Diverged, match=r"update 1, environment step \d+: .*take a smaller optimizer.lr"):
            advance_twice()
        assert counters.updates == 1


# --- the device that is pretended finds what it is there for -----------------------------------------------


@pytest.mark.parametrize("what", ["rewards", "moment", "noise"])
def test_a_tensor_on_the_wrong_device_is_found(what: str) -> None:
    with FakeCuda():
        run, counters = build_on("cuda", small_settings("ppo")), loop.Counters()
        if what == "noise":
            run.noise = torch.Generator()
            with pytest.raises(FakeTensorDeviceMismatchError):
                collect_rollout(run)
            return
        rollout, finished = collect_rollout(run)
        counters.add(rollout, finished)
        if what == "rewards":
            rollout = replace(rollout, reward=numbers_of(rollout.reward))
        else:
            state = run.learner.optimizer.state
            state["first"] = numbers_of(state["first"])
        with pytest.raises(FakeTensorDeviceMismatchError):
            loop.update_from_rollout(run, rollout, counters)


def test_a_generator_of_the_host_is_a_sync() -> None:
    """One that shuffles minibatches: their order is copied to the device."""
    with FakeCuda() as device:
        run, counters = build_on("cuda", small_settings("a2c", "network=shared")), loop.Counters()
        run.learner.generator = torch.Generator()
        rollout, finished = collect_rollout(run)
        counters.add(rollout, finished)
        with device.counting() as syncs:
            loop.update_from_rollout(run, rollout, counters)
    assert syncs == ["optimization/minibatches.py: shuffle_into_minibatches (aten._to_copy.default)"]


def test_every_kind_of_sync_is_counted() -> None:
    with FakeCuda() as device:
        x = torch.arange(4.0, device="cuda")
        ways = [
            lambda: x.sum().item(),
            lambda: bool(x.any()),
            lambda: float(x[1]),
            lambda: x.cpu(),
            lambda: x.tolist(),
            lambda: x.cpu().numpy(),
            lambda: x[x > 1],
            lambda: x.nonzero(),
            lambda: torch.equal(x, x),
            lambda: torch.unique(x),
            lambda: torch.ones(2).to(x.device),
            lambda: torch.tensor([1.0], device=x.device),
            lambda: x.copy_(torch.zeros(4)),
            lambda: torch.where(x > 1, x, torch.tensor(0.5)),
            lambda: torch.linalg.pinv(torch.ones(2, 2, device=x.device)),
        ]
        for k, way in enumerate(ways):
            with device.counting() as syncs:
                way()
            assert len(syncs) == 1, k
        with device.counting() as syncs:
            torch.where(x > 1, 2 * x, 0.5) + x.new_zeros(4) * torch.tensor(0.5) + torch.zeros_like(x)
        assert syncs == []
