"""The twelve probes through whole runs of reinforce, a2c and ppo: what fails says which part is broken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pgrun.training.build import Run
from pgrun.training.loop import evaluate_policy
from tests.campaigns import probes
from tests.campaigns.probes import PROBES, Probe
from tests.helpers.support_pipeline import chances, outputs, trained, values

GAMMA = 0.9
FAST, ALL = range(1), range(20)
METHODS = {
    "reinforce": (
        "algo=reinforce variance=value_baseline env.num_envs=16 sampler.episodes=16 optimizer.lr=0.02 "
        "critic.epochs=4 critic.optimizer.lr=0.02"
    ),
    "a2c": (
        "algo=a2c env.num_envs=8 sampler.steps=8 optimizer.lr=0.01 optimizer.schedule=linear "
        "critic.optimizer.lr=0.01 critic.optimizer.schedule=linear"
    ),
    "ppo": (
        "algo=ppo env.num_envs=8 sampler.steps=16 algo.epochs=4 algo.minibatches=2 optimizer.lr=0.01 "
        "critic.optimizer.lr=0.01"
    ),
}
COMMON = (
    f"gamma={GAMMA} network.hidden=[16] diagnostics.gradient_every=0 trainer.total_steps=2500 "
    "logger.every=1000"
)
MORE = {
    "a2c": {"trainer.total_steps": 4000}
}  # one small step a rollout: the cheapest, so it gets more of them
EXTRA = {
    probes.OneAction: {"trainer.total_steps": 1500},
    probes.TwoActions: {"trainer.total_steps": 1500},
    probes.Quadratic: {
        "algo.entropy": 0.5,
        "advantage_norm": "none",
        "trainer.total_steps": 5000,
        "optimizer.schedule": "linear",
    },
    probes.Offset: {"state_norm": True, "reward_scaling": True, "advantage_norm": "full"},
    probes.Counter: {"state_norm": True, "trainer.total_steps": 6000},
}


def close(given: list[float], wanted: list[float], tolerance: float) -> bool:
    print("values", given, "wanted", wanted)
    return max(abs(a - b) for a, b in zip(given, wanted, strict=True)) <= tolerance


def prefers(run: Run, obs: list, right: list[int]) -> bool:
    """At every observation the right action has at least 90 %."""
    chosen = chances(run, obs)[range(len(obs)), right]
    print("chances of the right actions", chosen.tolist())
    return bool((chosen >= 0.9).all())


def one_hot(n: int) -> list:
    return np.eye(n).tolist()


def ring_value(run: Run) -> bool:
    """V = 1/(1 − γ) = 10 all round; as terminations the cuts would give 1 in the last
    place, 5.7 in the first.
    """
    return close(values(run, one_hot(8)), [1 / (1 - GAMMA)] * 8, 1.0)


def last_step(run: Run) -> bool:
    """V in the last place is 1/(1 − γ⁴) = 2.9 (1 if the cut were a termination), 0.5
    either side for π's last changes.
    """
    value = values(run, one_hot(4))[3]
    print("value in the last place", value)
    return prefers(run, one_hot(4)[3:], [1]) and abs(value - 1 / (1 - GAMMA**4)) < 0.5


def quadratic(run: Run) -> bool:
    """In units of [−1, 1]: J = −4(μ − 0.35)² − 4σ² + 0.5 log σ, so that μ = 0.35 and σ = √(0.5/8) = 0.25."""
    mean, log_std = outputs(run, [0.0])[0].tolist()
    print("mean", mean, "σ", np.exp(log_std))
    return abs(mean - 0.35) < 0.1 and abs(np.exp(log_std) - 0.25) < 0.06


def bound(run: Run) -> bool:
    """The deterministic action is the bound, and the unclipped mean has not run away from it."""
    mean, log_std = outputs(run, [0.0])[0].tolist()
    result = evaluate_policy(run)[0].mean()
    print("mean", mean, "log σ", log_std, "evaluation", result)
    return result > 2.95 and 0.95 < mean < 100 and np.isfinite(log_std)


def counter(run: Run) -> bool:
    return prefers(run, [0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1]) and evaluate_policy(run)[0].mean() == 6


PASSED: dict[type[Probe], Callable[[Run], bool]] = {
    probes.OneAction: lambda run: close(values(run, [0]), [1], 0.1),
    probes.Signs: lambda run: close(values(run, [-1, 1]), [-1, 1], 0.1),
    probes.TwoSteps: lambda run: close(values(run, [0, 1]), [GAMMA, 1], 0.05),
    probes.TwoActions: lambda run: prefers(run, [0], [1]),
    probes.Match: lambda run: prefers(run, [-1, 1], [0, 1]),
    probes.Ring: ring_value,
    probes.HalfAndHalf: lambda run: close(values(run, [-1, 1]), [1, 1 / (1 - GAMMA)], 1.0),
    probes.LastStep: last_step,
    probes.Quadratic: quadratic,
    probes.Bound: bound,
    probes.Offset: lambda run: prefers(run, [1e4 - 1, 1e4 + 1], [0, 1]),
    probes.Counter: counter,
}


def play(folder, probe: type[Probe], algo: str, seed: int) -> bool:
    words = f"env=ProbeMatch-v0 {METHODS[algo]} {COMMON}".split()
    changes = {"env.id": probes.name(probe)} | MORE.get(algo, {}) | EXTRA.get(probe, {})
    run, _ = trained(folder, *words, seed=seed, **changes)
    assert torch.isfinite(run.policy.theta).all()
    run.eval_envs.reset()
    return PASSED[probe](run)


@pytest.mark.parametrize("algo", METHODS)
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_probe(probe: type[Probe], algo: str, tmp_path) -> None:
    for seed in FAST:
        assert play(tmp_path, probe, algo, seed), f"{algo}, seed {seed}: look at {PROBES[probe]}"


@pytest.mark.slow
@pytest.mark.parametrize("algo", METHODS)
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_probe_twenty_of_twenty(probe: type[Probe], algo: str, tmp_path) -> None:
    failed = [seed for seed in ALL if not play(tmp_path, probe, algo, seed)]
    assert not failed, f"{algo}, seeds {failed}: look at {PROBES[probe]}"


def test_every_probe_has_its_verdict() -> None:
    assert set(PASSED) == set(PROBES)
    assert len(PROBES) == 12
