"""Schedules: closed forms, the KL rule by hand, and what moves with them in a run."""

from __future__ import annotations

import math

import pytest
import torch

from pgrun.algorithms.ppo import Ppo
from pgrun.algorithms.trpo import Trpo
from pgrun.compiled.optimizers import compile_optimizer
from pgrun.diagnostics.update import scheduled_tags
from pgrun.optimization.natural_gradient import fisher_product, mean_kl
from pgrun.optimization.optimizers import Adam, Optimizer
from pgrun.optimization.schedules import Schedule
from pgrun.runs.resume_run import find_stretched_schedules
from pgrun.training.build import build_run
from pgrun.training.counters import Counters
from pgrun.training.loop import learn_from_rollout, make_batch
from tests.helpers.support_pipeline import settings

TINY = {
    "backend": "torch", "env.num_envs": 4, "sampler.steps": 16, "network.hidden": [8], "logger.every": 1,
    "diagnostics.gradient_every": 0, "algo.epochs": 2, "algo.minibatches": 2,
}  # fmt: skip


def small(**changes) -> dict:
    """PPO on CartPole-v1; composed once, and the changes put in."""
    return settings("algo=ppo", **TINY | changes)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 1.0, 1.3])
def test_closed_forms(progress: float) -> None:
    p = min(progress, 1.0)
    wanted = {
        "constant": 0.2,
        "linear": 0.05 + 0.15 * (1 - p),
        "cosine": 0.05 + 0.15 * math.cos(math.pi * p / 2) ** 2,  # (1 + cos x)/2 = cos²(x/2)
        "kl": 0.2,
    }
    for kind, value in wanted.items():
        schedule = Schedule(0.2, kind, end=0.05)
        schedule.set_progress(progress)
        assert schedule.value == pytest.approx(value, rel=1e-15, abs=1e-17), kind  # rounding


def test_the_rule_of_kl_on_a_sequence_by_hand() -> None:
    """Target 0.01: above 0.02 ÷ 1.5, below 0.005 × 1.5, in between and without any KL unmoved."""
    schedule, one = Schedule(1e-3, "kl", target_kl=0.01), 1e-3
    for kl, value in [
        (0.01, one), (0.0199, one), (0.0051, one), (0.0, one), (math.nan, one), (0.0201, one / 1.5),
        (0.5, one / 2.25), (0.0049, one / 1.5), (1e-9, one), (1e-9, 1.5 * one),
    ]:  # fmt: skip
        schedule.adapt(kl)
        assert schedule.value == pytest.approx(value, rel=1e-15), kl


def test_the_bounds_of_kl_are_those_of_rsl_rl() -> None:
    up, down = Schedule(1e-3, "kl"), Schedule(1e-3, "kl")
    for _ in range(50):
        up.adapt(1e-6)
        down.adapt(1.0)
    assert (down.value, up.value) == (pytest.approx(1e-5), pytest.approx(1e-2))
    fixed = Schedule(1e-3, "linear")
    fixed.adapt(1.0)
    assert fixed.value == 1e-3


def test_every_number_takes_the_same_words() -> None:
    ppo = Ppo(clip=0.2, clip_schedule="cosine", clip_end=0.1, entropy=0.04, entropy_schedule="linear")
    ppo.set_progress(0.5)
    assert (ppo.epsilon, ppo.entropy_weight) == (pytest.approx(0.15), pytest.approx(0.02))
    adaptive = Ppo(clip=0.2, clip_schedule="kl", clip_target_kl=0.1, entropy=0.03, entropy_schedule="kl")
    adaptive.adapt_schedules(0.04)  # below half of one target, above twice the other
    assert (adaptive.epsilon, adaptive.entropy_weight) == (pytest.approx(0.3), pytest.approx(0.02))
    trpo = Trpo(entropy=0.04, entropy_schedule="linear", entropy_end=0.01)
    trpo.set_progress(1.0)
    assert trpo.entropy_weight == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("algo", "name", "kl"),
    [("npg", "delta", True), ("trpo", "delta", True), ("euclidean_pg", "radius", False)],
)
def test_a_step_is_as_long_as_its_radius_is_then(algo: str, name: str, kl: bool) -> None:
    """At half of the run ½ΔᵀAΔ, or ‖Δθ‖, is half of the number that the settings have; at its end θ stays."""
    words = {f"algo.{name}": 1e-3, f"algo.{name}_schedule": "linear", "variance": "none", "env.num_envs": 4}
    groups = [f"{key}={value}" for key, value in words.items()]
    run = build_run(settings(f"algo={algo}", "sampler=episodes", "backend=torch", *groups))
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    batch = make_batch(run, rollout)[2]
    product = fisher_product(run.policy, batch, 1e-3)
    for progress, wanted in ((0.5, 5e-4), (1.0, 0.0)):
        before = run.policy.theta.clone()
        run.set_progress(progress)
        run.algorithm.improve(batch, run.learner)
        step = run.policy.theta - before
        length = 0.5 * step.dot(product(step)) if kl else step.norm()
        shorter = 0.8 ** (2 * max(float(run.algorithm.told.get("step/line_search_steps", 1)) - 1, 0))
        assert float(length) == pytest.approx(wanted * shorter, rel=1e-2)  # float32
        assert scheduled_tags(run.algorithm)[f"algo/{name}"].value == pytest.approx(wanted)


def test_a_compiled_optimizer_has_the_same_schedule() -> None:
    theta = torch.zeros(3)
    one = Optimizer(theta, Adam(lr=1e-2, schedule="kl"))
    twin = compile_optimizer(one)
    assert type(twin) is not Optimizer
    one.schedule.adapt(1.0)
    twin.step(torch.ones(3))
    assert theta.tolist() == pytest.approx([-1e-2 / 1.5] * 3, rel=1e-4)  # Adam's first step is lr long


def test_an_update_adapts_after_it_and_logs_what_it_took() -> None:
    """The KL is that of the update; the critic's optimizer follows the policy's KL too."""
    own = {"optimizer.lr": 0.01, "optimizer.schedule": "kl", "optimizer.target_kl": 1e-7}
    critic = {"critic.optimizer.schedule": "kl", "critic.optimizer.target_kl": 1e9}
    run = build_run(small(**own | critic, **{"algo.clip_schedule": "kl"}))
    rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
    batch = make_batch(run, rollout)[2]
    before = run.learner.critic.schedules[0].value
    scalars = learn_from_rollout(run, rollout, Counters(next_eval=0))
    assert float(mean_kl(run.policy, batch)) > 2e-7
    assert float(scalars["optimizer/lr"]) == 0.01
    assert run.learner.optimizer.lr == pytest.approx(0.01 / 1.5)
    assert run.learner.critic.schedules[0].value == pytest.approx(before * 1.5)
    assert float(scalars["algo/clip"]) == 0.2


def test_a_resumed_run_has_the_schedules_of_the_one_that_never_stopped() -> None:
    """What the share of the run does not tell is in the state, bit for bit."""
    bonus = {"algo.entropy": 0.01, "algo.entropy_schedule": "kl"}
    actual = small(**{"optimizer.schedule": "kl"} | bonus)
    one, other = build_run(actual), build_run(actual)

    def update(run) -> None:
        rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        learn_from_rollout(run, rollout, Counters(next_eval=0))

    for _ in range(3):
        update(one)
    assert one.learner.optimizer.lr != one.learner.optimizer.settings.lr
    other.load_state_dict(one.state_dict())
    assert other.learner.optimizer.lr == one.learner.optimizer.lr
    assert other.algorithm.entropy_weight == one.algorithm.entropy_weight
    update(one)
    update(other)
    assert torch.equal(one.policy.theta, other.policy.theta)


def test_constant_schedules_leave_the_state_as_it_was() -> None:
    """A checkpoint of a run without such schedules has no new entries."""
    optimizer = Optimizer(torch.zeros(2), Adam(lr=0.1, schedule="cosine"))
    assert set(optimizer.state_dict()) == {"step", "first", "second"}
    assert Ppo(entropy_schedule="linear").state_dict() == {}


def test_a_longer_run_says_where_a_cosine_stands() -> None:
    before = small(**{"optimizer.schedule": "cosine", "optimizer.lr_end": 1e-5})
    longer = {**before, "trainer": {**before["trainer"], "total_steps": 400_000}}
    (line,) = find_stretched_schedules(before, longer, 100_000)
    assert line == (
        "optimizer.schedule=cosine now reaches its end at step 400000, not 100000: at step 100000 it stands "
        "at 85% of the way from there to the start, where it stood at 0%"
    )
