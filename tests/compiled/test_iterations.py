"""Whole iterations in one call: the same run as one update at a time, however they are split into calls."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("numba")

from pgrun.compiled import twins
from pgrun.compiled.iterations import base
from pgrun.errors import Diverged, EnvironmentFault
from pgrun.returns import using_loop_backups
from pgrun.training import fast_forward
from tests.helpers.support_pipeline import built, trained

QUICK = ("trainer.eval_every=null", "trainer.eval_episodes=1", "logger.progress=false", "backend=compiled")
RUNS = {
    "a2c": ("algo=a2c", "env=CartPole-v1", "tuned=none", "trainer.total_steps=2000"),
    "a2c, continuous": (
        *("algo=a2c", "env=Pendulum-v1", "tuned=none", "trainer.total_steps=2000", "variance=td0"),
        *("critic.clip=0.2", "algo.entropy=0.01", "optimizer=adam", "optimizer.schedule=linear"),
    ),
    "ppo": (
        *("algo=ppo", "env=CartPole-v1", "tuned=none", "trainer.total_steps=1500", "env.num_envs=2"),
        *("sampler.steps=32", "algo.epochs=3", "algo.minibatches=4", "advantage_scope=minibatch"),
        *("critic.epochs=2", "critic.minibatches=3", "optimizer.schedule=linear", "algo.entropy=0.01"),
    ),
    "ppo, one minibatch, ε falling": (
        *("algo=ppo", "env=Pendulum-v1", "tuned=none", "trainer.total_steps=1500", "sampler.steps=64"),
        *("algo.epochs=4", "algo.minibatches=1", "algo.clip_schedule=linear", "advantage_norm=full"),
    ),
    "online_ac": ("algo=online_ac", "env=CartPole-v1", "trainer.total_steps=150"),
    "off_policy_ac": (
        *("algo=off_policy_ac", "env=CartPole-v1", "tuned=none", "trainer.total_steps=460", "env.num_envs=2"),
        *("sampler.warmup=100", "sampler.capacity=300", "sampler.steps=2", "sampler.batch=32"),
        "critic.rate=0.6",
    ),
    "off_policy_ac, q alone": (
        *("algo=off_policy_ac", "algo.baseline=none", "env=CartPole-v1", "tuned=none", "env.num_envs=1"),
        *("sampler.warmup=50", "trainer.total_steps=130", "optimizer.schedule=linear", "algo.entropy=0.01"),
    ),
    "off_policy_ac, drawn actions": (
        *("algo=off_policy_ac", "env=Pendulum-v1", "tuned=none", "trainer.total_steps=400", "gamma=0.9"),
        *("env.num_envs=2", "sampler.warmup=100", "sampler.capacity=150", "sampler.steps=2"),
        *("sampler.batch=32", "critic.rate=0.6", "network.log_std=0.3"),
    ),
    "off_policy_ac, drawn actions, all normalised": (
        *("algo=off_policy_ac", "env=HalfCheetah-v5", "tuned=none", "trainer.total_steps=200"),
        *("env.num_envs=2", "env.max_episode_steps=60", "sampler.warmup=60", "sampler.batch=32"),
        *("algo.baseline=none", "state_norm=true", "reward_scaling=true", "optimizer.schedule=linear"),
    ),
    "off_policy_ac, one environment after the other": (
        *("algo=off_policy_ac", "env=CartPole-v1", "env.vector=loop", "tuned=none", "env.num_envs=2"),
        *("trainer.total_steps=400", "sampler.warmup=100", "sampler.batch=32", "state_norm=true"),
    ),
    "euclidean_pg has a step of its own": (
        "algo=euclidean_pg",
        "sampler=steps",
        "variance=gae",
        "tuned=none",
    ),
}


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


WHOLE = [name for name in RUNS if not name.startswith("euclidean_pg")]


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_the_run_of_one_update_at_a_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding: θ has moved alike, and what was logged is equal to a hundred-thousandth."""
    run, _ = trained(tmp_path / "a", *RUNS[name], *QUICK)
    assert run.iterations is not None
    monkeypatch.setattr(twins.CompiledTwins, "iterations", staticmethod(lambda *parts: None))
    other, _ = trained(tmp_path / "b", *RUNS[name], *QUICK)
    assert other.iterations is None
    start = built(*RUNS[name], *QUICK).policy.theta
    moved = (other.policy.theta - start).norm()
    assert float((run.policy.theta - other.policy.theta).norm()) < 1e-4 * float(moved)
    for key in ("env_steps", "updates"):
        assert summary(tmp_path / "a")[key] == summary(tmp_path / "b")[key]
    pairs = list(zip(rows(tmp_path / "a"), rows(tmp_path / "b"), strict=True))
    assert len(pairs) >= 2
    for one, two in pairs:
        assert one.keys() == two.keys()
        for tag in ("env_steps", "return/train", "episode/count", "value/loss", "policy/entropy"):
            assert (one[tag] == "") == (two[tag] == "")
            assert not one[tag] or float(one[tag]) == pytest.approx(float(two[tag]), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "a2c, continuous"])
def test_how_they_are_split_into_calls_moves_no_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every update logged, every seventh measured, three in a call, many in a call, and as it is by default,
    where each is measured that is logged: one θ.
    """
    unmeasured = "diagnostics.gradient_every=0"
    unseen = ("logger.every=1000", unmeasured)
    measured = "diagnostics.gradient_every=7"
    cadences = (("logger.every=1", unmeasured), (measured,), unseen, ("logger.every=null",))
    hashes = set()
    for k, words in enumerate(cadences):
        trained(tmp_path / str(k), *RUNS[name], *QUICK, *words)
        hashes.add(summary(tmp_path / str(k))["params_sha256"])
    monkeypatch.setattr(base, "MOST", 3)
    trained(tmp_path / "three", *RUNS[name], *QUICK, *unseen)
    assert hashes == {summary(tmp_path / "three")["params_sha256"]}


NORMS = ("none", "center", "scale", "full")


@pytest.mark.parametrize("scope", ["batch", "minibatch"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_batch_that_collecting_makes_is_the_one_of_the_general_way(norm: str, scope: str) -> None:
    """Bit for bit, and still after the steps on it, whose minibatches have norms of their own."""
    usual = [word for word in RUNS["ppo"] if not word.startswith("advantage_scope")]
    run = built(*usual, *QUICK, f"advantage_norm={norm}", f"advantage_scope={scope}")
    assert run.iterations is not None
    for _ in range(3):
        rollout, _ = run.iterations.collect()
        collected = run.iterations.find_weighed_batch(rollout)
        assert collected is not None
        with using_loop_backups(True):
            made = run.estimator.weigh(rollout, run.learner.critic, run.policy)
        assert collected[0] is made[0]
        assert torch.equal(collected[1], made[1])
        run.iterations.learn()
        for name in ("obs", "action", "log_prob", "params", "psi", "mask", "value", "target"):
            assert torch.equal(getattr(collected[2], name), getattr(made[2], name)), name
        assert (collected[2].count, collected[2].shape) == (made[2].count, made[2].shape)


def test_most_updates_are_in_a_call_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    run = fast_forward.fast_forward

    def counting(run_: Any, counters: Any, clock: Any, count: int) -> None:
        counts.append(count)
        run(run_, counters, clock, count)

    monkeypatch.setattr("pgrun.training.loop.fast_forward", counting)
    trained(tmp_path, *RUNS["a2c"], *QUICK, "diagnostics.gradient_every=0", "logger.every=25")
    assert sum(counts) > 0.9 * summary(tmp_path)["updates"]
    assert max(counts) == 24


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ((), True),
        (("variance=td0",), True),
        (("critic.target=mc",), True),
        (("variance=n_step",), False),
        (("variance.normalised=true",), False),
        (("algo.epochs=2",), True),
        (("algo.minibatches=2",), True),
        (("sampler.steps=1", "algo.minibatches=2"), False),
        (("algo=ppo",), True),
        (("algo=ppo", "algo.target_kl=0.1"), False),
        (("algo=ppo", "algo.clip_schedule=kl"), False),
        (("algo=ppo", "advantage_scope=minibatch"), True),
        (("algo=ppo_penalty",), False),
        (("state_norm=true",), False),
        (("reward_scaling=true",), False),
        (("network=shared",), False),
        (("critic.fit=before",), False),
        (("critic.epochs=3",), True),
        (("advantage_norm=full",), True),
        (("env.vector=loop",), False),
        (("backend=torch",), False),
    ],
)
def test_which_runs_have_whole_iterations(words: tuple[str, ...], whole: bool) -> None:
    run = built("algo=a2c", "env=CartPole-v1", "tuned=none", "backend=compiled", *words)
    assert (run.iterations is not None) is whole


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ((), True),
        (("variance=advantage",), True),
        (("algo.corrections=q_next",), False),
        (("algo.baseline=expectation",), False),
        (("critic.fit=before",), False),
        (("env=Pendulum-v1",), True),
        (("state_norm=true",), True),
        (("reward_scaling=true",), True),
        (("env.vector=loop",), True),
        (("env=Pendulum-v1", "policy=squashed"), False),
        (("algo.entropy=0.1", "algo.entropy_schedule=linear"), False),
    ],
)
def test_which_replayed_runs_have_whole_iterations(words: tuple[str, ...], whole: bool) -> None:
    run = built("algo=off_policy_ac", "env=CartPole-v1", "tuned=none", "backend=compiled", *words)
    assert (run.iterations is not None) is whole


def test_an_algorithm_that_overrides_its_update_goes_the_general_way() -> None:
    assert built("algo=euclidean_pg", "tuned=none", "backend=compiled").iterations is None


TOO_LARGE = {
    "the critic's steps": ("critic/optimizer=sgd", "critic.optimizer.lr=3e38"),
    "the policy's": (
        "optimizer=sgd",
        "optimizer.lr=3e38",
        "optimizer.max_grad_norm=null",
        "algo.entropy=1e9",
    ),
    "sums before any number": (  # of Ψ, on the way there
        *("critic/optimizer=sgd", "critic.optimizer.lr=10", "critic.optimizer.max_grad_norm=null"),
        *("optimizer.max_grad_norm=0.5", "network.hidden=[]", "seed=1", "trainer.total_steps=20000"),
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_numbers_that_are_not_finite_end_the_run_where_they_arise(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same words as one update at a time, though nothing of it is logged."""
    words = (*RUNS["a2c"], *QUICK, "logger.every=1000", "diagnostics.gradient_every=0", *TOO_LARGE[name])
    texts = []
    for folder in "ab":
        with pytest.raises(Diverged, match=r"^update \d+, environment step \d+: ") as raised:
            trained(tmp_path / folder, *words)
        texts.append(str(raised.value))
        monkeypatch.setattr(twins.CompiledTwins, "iterations", staticmethod(lambda *parts: None))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["off_policy_ac", "off_policy_ac, drawn actions"])
def test_a_replayed_step_that_is_too_large_is_told_alike(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*RUNS[name], *QUICK, "logger.every=1000", "critic.optimizer.lr=3e38")
    texts = []
    for folder in "ab":
        with pytest.raises(Diverged, match=r"^update \d+, environment step \d+: ") as raised:
            trained(tmp_path / folder, *words, "critic/optimizer=sgd")
        texts.append(str(raised.value))
        monkeypatch.setattr(twins.CompiledTwins, "iterations", staticmethod(lambda *parts: None))
    assert texts[0] == texts[1]


def test_bad_data_is_named_by_episode_and_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = built(*RUNS["a2c"], *QUICK)
    assert run.iterations is not None
    run.envs.place[3, 0] = float("nan")
    with pytest.raises(EnvironmentFault, match=r"episode \d+.*step \d+"):
        run.iterations.run_many(4, lambda steps: 0.0 * steps)
