"""On a real CUDA device: ``pytest -m cuda``. Without one these tests are skipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgrun.envs.tensor_motion import MOTIONS
from pgrun.envs.tensor_program import TensorProgram
from pgrun.errors import describe_lack_of_memory
from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.build import Run
from pgrun.training.stacked.stack import Stack
from pgrun.types import Rollout, each_tensor
from tests.helpers.support_device import (
    ALGOS,
    EVERY_ROW,
    build_on,
    collect_rollout,
    loop,
    small_settings,
    take_state,
)
from tests.helpers.support_pipeline import settings

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason=f"torch {torch.__version__} finds no CUDA device: these need torch's CUDA build and a card",
    ),
]
# ‖CUDA − CPU‖ ÷ ‖step‖ of θ after one update. Sums are added in other orders: 1e-7 of each number, and some
# hundred times that of a step, which is as much smaller than θ; natural steps are solved with a damping that
# keeps them well conditioned.
BOUND = 1e-4
SAME_DRAWS: dict[str, Any] = {  # no draw inside the update: the generators of two devices are not the same
    "algo.minibatches": 1,
    "critic.minibatches": 1,
    "algo.corrections": "none",
    "algo.damping": 1.0,
}


def present(given: dict[str, Any]) -> dict[str, Any]:
    """``SAME_DRAWS`` in settings that have them."""
    for key, value in SAME_DRAWS.items():
        group, name = key.split(".")
        if name in given[group]:
            given[group][name] = value
    return given


def on_host(rollout: Rollout) -> Rollout:
    return replace(rollout, **each_tensor(rollout, lambda x: x.cpu()))


def advance(run: Run, updates: int, counters: Any = None) -> Any:
    counters = counters or loop.Counters()
    for _ in range(updates):
        loop.collect_and_update(run, counters, loop.Clock())
    loop.read_check(run)
    return counters


def bits(run: Run) -> list[bytes]:
    """Every number that updates move."""
    collected: list[bytes] = []

    def take(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            collected.append(part.cpu().numpy().tobytes())
        elif isinstance(part, dict):
            for inner in part.values():
                take(inner)

    take(take_state(run))
    return collected


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
@pytest.mark.parametrize("algo", ALGOS)
def test_one_update_is_the_cpus_to_rounding(algo: str, kind: str) -> None:
    """From the same rollout and the same first parameters."""
    given = present(small_settings(algo, kind=kind, **EVERY_ROW))
    ours, theirs = build_on("cuda", given), build_on("cpu", given)
    start = theirs.policy.theta.clone()
    assert torch.equal(ours.policy.theta.cpu(), start)
    rollout, _ = collect_rollout(ours)
    rollout = ours.sampler.recall(rollout, ours.policy, ours.scale, ours.noise)
    loop.learn_from_rollout(ours, rollout, loop.Counters())
    loop.learn_from_rollout(theirs, on_host(rollout), loop.Counters())
    step = (theirs.policy.theta - start).norm()
    assert step > 0
    assert (ours.policy.theta.cpu() - theirs.policy.theta).norm() < BOUND * step


@pytest.mark.parametrize("algo", ALGOS)
def test_the_same_seed_gives_the_same_bits(algo: str) -> None:
    runs = [build_on("cuda", small_settings(algo, **EVERY_ROW)) for _ in range(2)]
    for run in runs:
        advance(run, 3)
    assert bits(runs[0]) == bits(runs[1])


@pytest.mark.parametrize("algo", ["ppo", "off_policy_ac", "trpo"])
def test_a_resumed_run_goes_on_bit_for_bit(algo: str, tmp_path: Path) -> None:
    words = ("state_norm=true", "reward_scaling=true")
    first, second = (build_on("cuda", small_settings(algo, *words, **EVERY_ROW)) for _ in range(2))
    counters = advance(first, 2)
    Checkpoints(tmp_path).save(1, first.state_dict())
    second.load_state_dict(Checkpoints(tmp_path).load()[0])
    advance(first, 2, counters)
    advance(second, 2, loop.Counters(updates=2))
    assert bits(first) == bits(second)


def test_an_evaluation_is_the_cpus_to_rounding() -> None:
    given = small_settings("ppo", kind="gaussian", **{"trainer.eval_episodes": 4})
    ours, theirs = (loop.evaluate_policy(build_on(device, given)) for device in ("cuda", "cpu"))
    assert ours[1] == theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4)


def test_a_lack_of_memory_is_one_sentence() -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            build_on("cuda", small_settings("ppo", **{"network.hidden": [2048, 2048]}))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    said = describe_lack_of_memory(caught.value)
    assert said is not None
    assert said.startswith("out of memory: CUDA out of memory")
    assert "\n" not in said


# --- on the device altogether ----------------------------------------------------------------------------

GRAPHS = {"env.num_envs": 8, "sampler.steps": 16, "env.max_episode_steps": 7}


@pytest.mark.parametrize("env", MOTIONS)
@pytest.mark.parametrize("algo", ["ppo", "a2c"])
def test_graphs_give_the_bits_of_the_work_that_they_captured(
    algo: str, env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rollouts and updates, in runs that have no schedule; and nothing is left of the call that warms up."""
    collected = []
    for allowed in (True, False):
        monkeypatch.setattr("pgrun.rollouts.capture.allowed", allowed)
        run = build_on(
            "cuda", settings(f"algo={algo}", f"env={env}", "optimizer.schedule=constant", **GRAPHS)
        )
        assert isinstance(run.envs, TensorProgram)
        counters = advance(run, 4)
        collected.append((bits(run), counters.env_steps, counters.finished))
    assert collected[0] == collected[1]


@pytest.mark.parametrize("algo", ["ppo", "a2c"])
def test_seeds_in_one_program_are_those_alone(algo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To rounding, one seed beside another; to the bit, with graphs beside without."""
    words = (f"algo={algo}", "env=Pendulum-v1", "optimizer.schedule=constant", "trainer.stack_seeds=true")
    words = (*words, "critic.optimizer.schedule=constant")
    stacked = []
    for allowed in (True, False):
        monkeypatch.setattr("pgrun.rollouts.capture.allowed", allowed)
        runs = [build_on("cuda", settings(*words, seed=seed, **GRAPHS)) for seed in (0, 1, 2)]
        stack = Stack(runs)
        for _ in range(3):
            stack.collect()
            stack.update()
        stacked.append([bits(run) for run in runs])
    assert stacked[0] == stacked[1]
    for run in runs:
        alone = build_on("cuda", settings(*words, seed=run.top.seed, **GRAPHS))
        start = alone.policy.theta.clone()
        advance(alone, 3)
        step = (alone.policy.theta - start).norm()
        assert (run.policy.theta - alone.policy.theta).norm() < 10 * BOUND * step  # of three updates


def test_a_run_on_the_device_learns(tmp_path: Path) -> None:
    words = ("algo=ppo", "env=CartPole-v1", "device=cuda", "backend=torch")
    given = settings(*words, **{"env.num_envs": 64, "sampler.steps": 64, "trainer.total_steps": 200_000})
    summary = loop.train_run(build_on("cuda", given), tmp_path)
    assert summary["eval"]["return_mean"] > 100  # a pole that nobody holds falls within 10 steps
