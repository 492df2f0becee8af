"""The contract of the compiled core.

Whole updates are equal to torch's to rounding, and to themselves in every bit.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgrun.algorithms.base import Algorithm
from pgrun.algorithms.ppo import Ppo
from pgrun.compiled.critics import CompiledCritic
from pgrun.compiled.learner import CompiledLearner
from pgrun.compiled.mlp import CompiledMlp
from pgrun.types import Batch, Rollout
from tests.helpers.support_compiled import ENVS, SMALL, apart, built, parameters, training, update

CONF = Path(__file__).parents[2] / "conf"
ALGORITHMS = sorted(path.stem for path in (CONF / "algo").glob("*.yaml"))
NATURAL = ("npg", "trpo")
SHORT = {"env.max_episode_steps": 40}
# ‖compiled − torch‖ ÷ ‖step‖ over up to 36 steps of an optimizer. float32 keeps 6e-8 of θ, whose norm is some
# hundred times that of the steps; Adam divides entries whose gradient is rounding alone by their own size.
# The largest seen is 2.6e-6.
BOUND = 1e-5
SHARES = ("a2c", "ppo", "ppo_penalty", "reinforce", "online_ac")
CLIPPED = {"critic.clip": 0.2, "optimizer.max_grad_norm": 0.1, "critic.optimizer.max_grad_norm": 0.1}
OPTIMIZERS = {
    "sgd": {"lr": 1e-2, "momentum": 0.9},
    "adam": {"lr": 1e-3, "betas": (0.8, 0.99), "eps": 1e-6},
    "adamw": {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1},
    "rmsprop": {"lr": 1e-3, "alpha": 0.9, "eps": 1e-4},
}
SCHEMES: dict[str, dict[str, Any]] = {
    "n_step": {"n": 3},
    "td0": {},
    "value_baseline": {},
    "gae": {"lam": 0.9},
}


def test_every_algorithm_is_here() -> None:
    assert sorted(SMALL) == ALGORITHMS


@pytest.mark.parametrize("space", ENVS)
@pytest.mark.parametrize("algo", [name for name in ALGORITHMS if name not in NATURAL])
def test_updates_are_torchs(algo: str, space: str) -> None:
    assert apart(algo, 2, **SHORT | {"env.id": ENVS[space]}) < BOUND


@pytest.mark.parametrize("space", ENVS)
@pytest.mark.parametrize("algo", NATURAL)
def test_natural_steps_are_torchs(algo: str, space: str) -> None:
    """With damping that makes F well conditioned.

    Conjugate gradients multiply rounding by its condition number.
    """
    given = {"algo.iterations": 4, "algo.damping": 1.0, "env.id": ENVS[space]}
    assert apart(algo, 1, **SHORT | given) < BOUND


@pytest.mark.parametrize("space", ENVS)
@pytest.mark.parametrize("algo", SHARES)
def test_shared_networks(algo: str, space: str) -> None:
    """The joint loss, with entropy, value clipping, norm clipping and relu.

    Of seed 1: in seed 0 a unit of relu stands so near 0 that rounding turns it off, and the bound is passed
    threefold.
    """
    given = CLIPPED | {"network.name": "shared", "network.activation": "relu", "algo.entropy": 0.01}
    given |= {"variance": {"name": "gae", "lam": 0.95}} if algo == "reinforce" else {}
    given = {key: value for key, value in given.items() if not key.startswith("critic.optimizer")} | {
        "seed": 1
    }
    assert apart(algo, 2, **SHORT | given | {"env.id": ENVS[space]}) < BOUND


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("space", ENVS)
def test_optimizers(name: str, space: str) -> None:
    own = {"name": name, "schedule": "linear", "max_grad_norm": 0.3, **OPTIMIZERS[name]}
    given = {"optimizer": own, "critic.optimizer": dict(own), "algo.entropy": 0.01, "critic.clip": 0.2}
    assert apart("ppo", 2, **given | {"env.id": ENVS[space]}) < BOUND


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes(name: str) -> None:
    assert apart("a2c", 2, variance={"name": name, **SCHEMES[name]}) < BOUND


@pytest.mark.parametrize("norm", ["center", "scale", "full"])
def test_minibatch_norms(norm: str) -> None:
    assert apart("ppo", 2, advantage_norm=norm, advantage_scope="minibatch") < BOUND


def test_rows_of_no_account_and_uneven_minibatches() -> None:
    """Episodes of 5 steps: every sixth row has mask 0. 128 rows in 7 minibatches."""
    given = {"env.max_episode_steps": 5, "algo.minibatches": 7, "critic.minibatches": 7}
    assert apart("ppo", 3, **given) < BOUND


@pytest.mark.parametrize("corrections", ["none", "q", "q_next"])
def test_critics_of_actions(corrections: str) -> None:
    assert apart("off_policy_ac", 3, **{"algo.corrections": corrections, "algo.baseline": "none"}) < BOUND


@pytest.mark.parametrize("weights", ["trajectory", "per_decision", "past_only"])
def test_weights_that_mix_rows_come_from_torch(weights: str) -> None:
    assert apart("off_policy_pg", 2, **{"algo.weights": weights}) < BOUND


def test_a_correction_of_the_gradient() -> None:
    scheme = {"name": "optimal_baseline", "kind": "per_parameter"}
    assert apart("reinforce", 2, variance=scheme, advantage_norm="none") < BOUND


def test_bare_networks() -> None:
    """Without biases, one layer, none."""
    for hidden in ((8,), (), (5, 6, 7)):
        assert apart("ppo", 1, **{"network.bias": False, "network.hidden": hidden}) < BOUND


def test_the_twins_are_in_place() -> None:
    """What is compared with torch is not torch."""
    run = update(built("ppo", "compiled"))
    assert isinstance(run.learner, CompiledLearner)
    assert isinstance(run.learner.critic, CompiledCritic)
    assert isinstance(run.policy.net, CompiledMlp)
    (steps,) = run.learner.steps.values()
    assert steps is not None
    assert steps.traced is not None


class Trusting(Ppo):
    """A user's, with no closed form.

    Each row is weighed by a column of its own, and by a number that changes from epoch to epoch.
    """

    gradient_weight = Algorithm.gradient_weight

    def prepare_rollout(self, rollout: Rollout, learner: Any) -> Rollout:
        trust = torch.linspace(0.5, 1, rollout.mask.numel()).view_as(rollout.mask)
        return replace(rollout, extra={"other": 2 * trust, "trust": trust})

    def surrogate(self, log_prob: torch.Tensor, batch: Batch) -> torch.Tensor:
        ratio = (log_prob - batch.log_prob).exp().clamp(max=1 + self.epsilon)
        return (batch.mask * batch.psi * batch.extra["trust"] * ratio).sum() / batch.count

    def stop_rule(self) -> Callable[[Batch, Any], bool]:
        def halve_epsilon(batch: Batch, learner: Any) -> bool:
            self.epsilon *= 0.5
            return False

        return halve_epsilon


def test_an_algorithm_of_the_users_own() -> None:
    ends = []
    for backend in ("torch", "compiled"):
        run = built("ppo", backend)
        run.algorithm = Trusting(epochs=3, minibatches=4)
        ends.append(parameters(update(run, 2)))
    (steps,) = run.learner.steps.values()
    assert steps.traced is not None
    start = parameters(built("ppo", "torch"))
    assert (ends[1] - ends[0]).norm() < BOUND * (ends[0] - start).norm()


def test_whatever_has_no_twin_stays_torchs() -> None:
    """Outputs times a constant: the general path on a compiled network."""
    given = {"network.logit_scale": 3.0}
    assert apart("ppo", 2, **given) < BOUND
    run = update(built("ppo", "compiled", **given))
    assert list(run.learner.steps.values()) == [None]


def digest(algo: str, space: str) -> str:
    run = update(built(algo, "compiled", **SHORT | {"env.id": ENVS[space]}), 2)
    return hashlib.sha256(parameters(run).numpy().tobytes()).hexdigest()


def test_the_same_bits_in_another_process() -> None:
    """With other numbers of threads, where BLAS may read them."""
    code = (
        "from tests.compiled.test_compiled_updates import *\nfor space in ENVS: print(digest('ppo', space))"
    )
    threads = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | threads, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest("ppo", space) for space in ENVS]


@pytest.mark.parametrize("space", ENVS)
def test_what_is_measured(space: str) -> None:
    """Every scalar of a logged update: the meter's scores and units, the KLs, ratios, entropy and losses."""
    rows = []
    for backend in ("torch", "compiled"):
        run = built("ppo", backend, **SHORT | {"env.id": ENVS[space]})
        run.diagnostics = replace(run.diagnostics, gradient_every=1)
        rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        rows.append(training.update_from_rollout(run, rollout, training.Counters()))
    theirs, ours = rows
    assert len(theirs) > 10
    assert {"gradient/variance", "kl/old_new", "value/loss"} <= set(theirs)
    for name, value in theirs.items():  # KLs and ratios near 0 and 1 are differences of numbers near 1
        assert ours[name] == pytest.approx(value, rel=2e-4, abs=1e-5), name


def test_a_resumed_run_goes_on_in_the_same_bits() -> None:
    """Saved after one update, loaded into a fresh run.

    Buffers hold nothing that the next update depends on.
    """
    whole = update(built("ppo", "compiled"), 1)
    state = whole.state_dict()
    saved = {name: clone(state[name]) for name in ("policy", "optimizer", "critic")}
    fresh = built("ppo", "compiled")
    for name, part in saved.items():
        fresh.stateful[name].load_state_dict(part)
    fresh.learner.generator.set_state(whole.learner.generator.get_state())
    rollout, _ = whole.sampler.collect(whole.policy, whole.envs, whole.noise, whole.scale)
    for run in (whole, fresh):
        training.learn_from_rollout(run, rollout, training.Counters())
    assert torch.equal(parameters(whole), parameters(fresh))


def clone(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: clone(x) for name, x in state.items()}
    return state.clone() if isinstance(state, torch.Tensor) else state


def test_infinity_is_seen() -> None:
    """One infinite Ψ makes every parameter NaN, in torch as here: nothing is passed over."""
    for backend in ("torch", "compiled"):
        run = built("a2c", backend)
        rollout, _ = run.sampler.collect(run.policy, run.envs, run.noise, run.scale)
        batch = training.make_batch(run, rollout)[2]
        batch.psi[3] = torch.inf
        run.algorithm.improve(batch, run.learner)
        assert np.isnan(run.policy.theta.numpy()).any()
