"""Several seeds on a leading axis: each run is the one of its seed alone, to rounding."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from pgrun.errors import Diverged
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.build import Run
from pgrun.training.stacked.lockstep import Lockstep
from pgrun.training.stacked.stack import Seats, Stack
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun
from tests.helpers.support_device import build_on, loop, take_state
from tests.helpers.support_fake_cuda import FakeCuda, numbers_of
from tests.helpers.support_pipeline import settings

SMALL: dict[str, Any] = {
    "env.num_envs": 3,
    "sampler.steps": 12,
    "env.max_episode_steps": 5,
    "trainer.stack_seeds": True,
    "network.hidden": [8],
}
STEADY = ("optimizer.schedule=constant", "critic.optimizer.schedule=constant")
SEEDS = (3, 1, 4)
# Batched products of matrices add up in another order: 1e-7 of a number, and of a step, which is 1e-3 of θ,
# some hundred times that. No action of these short runs is a tie that this decides.
NEAR = {"rtol": 1e-4, "atol": 2e-6}


def build_seed(seed: int, words: tuple[str, ...], **changes: Any) -> Run:
    return build_on("cpu", settings(*words, seed=seed, **SMALL | changes))


def advance(run: Run, updates: int) -> Any:
    counters = loop.Counters()
    for _ in range(updates):
        loop.collect_and_update(run, counters, loop.Clock())
    return counters


@dataclass(frozen=True)
class Ended:
    """How one of several came to its end: it is saved there, since its place in the stack goes on."""

    counters: Any
    state: dict[str, Any]


def advance_stacked(runs: list[Run], updates: list[int], folder: Path | None = None) -> list[Ended]:
    """Each so many updates, side by side, and with a folder saved at its own end."""
    seats, counted, faults = Seats(len(runs)), {}, []

    def work(seat: int) -> None:
        with seats.lockstep.taking_turns():
            torch.set_grad_enabled(False)
            try:
                counters = advance(seats.join(seat, runs[seat]), updates[seat])
                counted[seat] = Ended(counters, save_and_load(runs[seat], folder and folder / str(seat)))
            except Exception as error:
                faults.append(error)

    threads = [threading.Thread(target=work, args=(seat,)) for seat in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if faults:
        raise faults[0]
    return [counted[seat] for seat in range(len(runs))]


def save_and_load(run: Run, folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}
    folder.mkdir(parents=True)
    Checkpoints(folder).save(1, run.state_dict())
    return dict(Checkpoints(folder).load()[0])


def assert_near(ours: Any, theirs: Any, path: str = "") -> None:
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            assert_near(ours[name], theirs[name], f"{path}/{name}")
    elif isinstance(ours, torch.Tensor):
        torch.testing.assert_close(ours, theirs, **NEAR, msg=lambda text: f"{path}: {text}")


CASES: dict[str, tuple[str, ...]] = {
    "ppo": ("algo=ppo", "env=CartPole-v1", *STEADY),
    "ppo_pendulum": ("algo=ppo", "env=Pendulum-v1", "algo.entropy=0.01", *STEADY),
    "a2c": ("algo=a2c", "env=CartPole-v1", "optimizer=rmsprop", *STEADY),
    "shared": ("algo=ppo", "env=Acrobot-v1", "network=shared", "critic.clip=0.2", STEADY[0]),
    "joint": ("algo=ppo", "env=MountainCar-v0", "network=joint", "optimizer.max_grad_norm=0.1", STEADY[0]),
    "norms": (
        *("algo=ppo", "env=MountainCarContinuous-v0", "state_norm=true", "reward_scaling=true", *STEADY),
        *("advantage_norm=full", "advantage_scope=minibatch", "optimizer=sgd", "optimizer.momentum=0.9"),
    ),
    "td0": ("algo=a2c", "env=Pendulum-v1", "variance=td0", "optimizer=adamw", *STEADY),
}


@pytest.mark.parametrize("name", CASES)
def test_each_run_is_the_one_of_its_seed_alone(name: str) -> None:
    """Parameters, optimizers, statistics, environments and random streams after three updates."""
    ours, theirs = ([build_seed(seed, CASES[name]) for seed in SEEDS] for _ in range(2))
    start = [run.policy.theta.clone() for run in theirs]
    counted = advance_stacked(ours, [3] * len(SEEDS))
    for run, other, ended, first in zip(ours, theirs, counted, start, strict=True):
        mine, expected = ended.counters, advance(other, 3)
        assert (other.policy.theta - first).norm() > 1e-3
        assert_near(take_state(run), take_state(other))
        assert_near(run.envs.state_dict(), other.envs.state_dict())
        for generator in ("noise", "shuffle"):
            assert torch.equal(run.state_dict()[generator], other.state_dict()[generator])
        assert (mine.env_steps, mine.updates) == (expected.env_steps, expected.updates)
        assert [length for _, length in mine.finished] == [length for _, length in expected.finished]
        assert sum(r for r, _ in mine.finished) == pytest.approx(sum(r for r, _ in expected.finished))
        assert len(mine.finished) >= 6


def test_runs_that_have_fewer_updates_left_hold_nobody_up() -> None:
    """Nor do those that stop at once; what is left goes on as it would have."""
    words = CASES["ppo"]
    ours, theirs = ([build_seed(seed, words) for seed in SEEDS] for _ in range(2))
    advance_stacked(ours, [1, 4, 0])
    advance(theirs[1], 4)
    assert_near(take_state(ours[1]), take_state(theirs[1]))


def test_a_stack_goes_on_from_checkpoints_of_different_updates(tmp_path: Path) -> None:
    """Each run from its own, as if nothing had stopped: Adam's counts differ between them."""
    whole, first, second = ([build_seed(seed, CASES["ppo"]) for seed in SEEDS[:2]] for _ in range(3))
    expected = advance_stacked(whole, [4, 3], tmp_path / "whole")
    for run, saved in zip(second, advance_stacked(first, [2, 1], tmp_path / "first"), strict=True):
        run.load_state_dict(saved.state)
    ended = advance_stacked(second, [2, 2], tmp_path / "second")
    steps = [one.state["optimizer"]["step"].item() for one in ended]
    assert steps[0] * 3 == steps[1] * 4 > 0
    for ours, theirs in zip(ended, expected, strict=True):
        for part in ("policy", "optimizer", "critic", "envs"):
            assert_near(ours.state[part], theirs.state[part], part)


def test_one_that_diverges_leaves_the_others_as_they_are() -> None:
    words = CASES["a2c"]
    ours, theirs = ([build_seed(seed, words) for seed in SEEDS[:2]] for _ in range(2))
    ours[0].policy.theta[0] = torch.nan
    with pytest.raises(Diverged, match=r"NaN|nan"):
        advance_stacked(ours, [3, 3])
    advance(theirs[1], 3)
    assert_near(take_state(ours[1]), take_state(theirs[1]))


def test_members_take_turns_and_meet() -> None:
    """One runs at a time, the work of a meeting is done once, and a fault in it is everybody's."""
    lockstep, running, met, seen = Lockstep(3), 0, [], []

    def meeting() -> None:
        met.append(lockstep.waiting)
        if len(met) == 3:
            raise ValueError("all of it")

    def work(rounds: int) -> None:
        nonlocal running
        with lockstep.taking_turns():
            for _ in range(rounds):
                running += 1
                assert running == 1
                running -= 1
                try:
                    lockstep.meet(meeting)
                except ValueError as error:
                    seen.append(str(error))
                    return

    threads = [threading.Thread(target=work, args=(rounds,)) for rounds in (1, 9, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert met == [3, 2, 2]
    assert seen == ["all of it", "all of it"]


def test_the_command_gives_each_seed_a_folder_of_its_own(here: Path) -> None:  # noqa: F811
    """As ``seeds=`` does elsewhere; stopped, it goes on, and a seed of it can be resumed by itself."""
    words = "algo=ppo env=CartPole-v1 tuned=none env.num_envs=2 sampler.steps=16 network.hidden=[4]"
    line = f"{words} {QUICK} optimizer.schedule=constant critic.optimizer.schedule=constant"
    line += " seeds=[5,3] trainer.stack_seeds=true"
    answer = pgrun(f"{line} hydra.run.dir=a")
    assert answer.code == 0, answer.err
    summaries = {seed: json.loads((here / f"a/{seed}/summary.json").read_text()) for seed in (5, 3)}
    whole = json.loads((here / "a/summary.json").read_text())
    assert [run["return_mean"] for run in whole["runs"]] == [
        summaries[seed]["eval"]["return_mean"] for seed in (5, 3)
    ]
    assert "mean over seeds 5, 3" in answer.out
    for seed, summary in summaries.items():
        assert (summary["seed"], summary["backend"], summary["status"]) == (seed, "torch", "finished")
        assert (here / f"a/{seed}/policy.safetensors").exists()
        assert len((here / f"a/{seed}/metrics.csv").read_text().splitlines()) > 3
    assert summaries[5]["params_sha256"] != summaries[3]["params_sha256"]
    assert pgrun("resume=a/3 trainer.total_steps=300").code == 0
    again = json.loads((here / "a/3/summary.json").read_text())
    assert again["env_steps"] > summaries[3]["env_steps"]


@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_a_stack_on_a_device_waits_for_its_episodes_and_its_rows_alone(name: str) -> None:
    """However many seeds it has: twice after a rollout, and never in an update; the numbers are the CPU's."""
    with FakeCuda() as device:
        given = [settings(*CASES[name], seed=seed, **SMALL) for seed in SEEDS]
        stack = Stack([build_on("cuda", one) for one in given])
        for _ in range(2):
            with device.counting() as collecting:
                stack.collect()
            with device.counting() as learning:
                stack.update()
        ours = [numbers_of(take_state(run)) for run in stack.runs]
    assert [sync.partition(" (")[0] for sync in collecting] == [
        "rollouts/tensor_player.py: read_finished",
        "training/stacked/stack.py: collect",
    ]
    assert learning == []
    theirs = Stack([build_on("cpu", one) for one in given])
    for _ in range(2):
        theirs.collect()
        theirs.update()
    for state, run in zip(ours, theirs.runs, strict=True):
        assert_near(state, take_state(run))
