"""Updates on a pretended CUDA device: no device is mixed with another, the host waits for nothing that the
algorithm does not decide on, and the numbers are those of the CPU.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest

from pgrun.config.paths import conf_dir
from pgrun.types import each_tensor
from tests.helpers.support_device import (
    ALGOS,
    EVERY_ROW,
    PAIRS,
    SPACES,
    assert_equal,
    build_on,
    collect_rollout,
    loop,
    small_settings,
    take_state,
)
from tests.helpers.support_fake_cuda import FakeCuda, numbers_of

# What an update may wait for, because it decides on the number. Everything else is a sync too many.
DECIDES = {
    "algorithms/trpo.py: move",  # whether there is a step at all
    "algorithms/trpo.py: is_acceptable",  # the line search
    "algorithms/ppo.py: exceeds_target_kl",  # target_kl
    "algorithms/ppo_penalty.py: improve",  # target_kl, which moves β
}
ROW = {  # of a logged update that the meter reads
    "algorithms/estimator.py: choose_estimator": 1,
    "diagnostics/update.py: fetch_floats": 1,
    "training/nonfinite.py: read_check": 1,
}
ONCE = "policies/continuous.py: quadrature_nodes"  # a table of numbers, copied to the device the first time
TABLE = {  # exact values of a tabular problem, which are computed on the host
    "exact.py: network_inputs",
    "exact.py: policy_table",
    "critics/exact.py: steps_into_episode",
    "critics/exact.py: recorded_states",
    "critics/exact.py: _like",
    "critics/exact.py: action_values",
    "critics/exact.py: _values_afterwards",
    "algorithms/off_policy_pg.py: chances",
    "diagnostics/exact_errors.py: <genexpr>",
    "diagnostics/exact_errors.py: variance_within_cells",
}
VINE = {  # episodes that are played on from each state, by environments of the host
    "critics/vine.py: values",
    "critics/vine.py: <genexpr>",
    "policies/policy.py: __call__",
    "rollouts/continuations.py: play_on",
}
Syncs = Counter[str]


def compare_update(given: dict[str, Any]) -> Syncs:
    """Make one update on the device and the same one on the CPU; the syncs of the first, by their place.

    Everything that the update moves, and every number of its row, must be the same in every bit.
    """
    with FakeCuda() as device:
        ours, counters = build_on("cuda", given), loop.Counters()
        rollout, finished = collect_rollout(ours)
        noise = ours.noise.get_state()
        counters.add(rollout, finished)
        with device.counting() as syncs:
            row = loop.update_from_rollout(ours, rollout, counters)
        state = numbers_of(take_state(ours))
    theirs = build_on("cpu", given)
    theirs.noise.set_state(noise)
    counters = loop.Counters()
    again = replace(rollout, **each_tensor(rollout, numbers_of))
    counters.add(again, finished)
    assert_equal(row, loop.update_from_rollout(theirs, again, counters), "row")
    assert_equal(state, take_state(theirs), "state")
    return Counter(sync.partition(" (")[0] for sync in syncs)


COMMON = ("categorical",)  # the variants below have a Gaussian


@pytest.mark.parametrize(
    "kind", [kind if kind in COMMON else pytest.param(kind, marks=pytest.mark.slow) for kind in SPACES]
)
@pytest.mark.parametrize(("algo", "sampler"), PAIRS)
def test_every_algorithm_sampler_and_distribution(algo: str, sampler: str, kind: str) -> None:
    syncs = compare_update(small_settings(algo, f"sampler={sampler}", kind=kind))
    if algo == "trpo":  # the step, and for each try the KL and perhaps the objective
        assert syncs["algorithms/trpo.py: move"] == 1
        assert syncs["algorithms/trpo.py: is_acceptable"] <= 2 * 10
    else:
        assert syncs == ({"algorithms/ppo_penalty.py: improve": 1} if algo == "ppo_penalty" else {})
    assert set(syncs) <= DECIDES


@pytest.mark.parametrize("algo", ALGOS)
def test_a_logged_update_fetches_its_row_at_once(algo: str) -> None:
    """With the meter's reading and every detail; blank entries of it too."""
    syncs = compare_update(small_settings(algo, kind="gaussian", **EVERY_ROW))
    assert {place: n for place, n in syncs.items() if place not in DECIDES} == ROW


PIXELS = "env=pgrun/Catch-v0"
TAXI = f"env={'Taxi-v4' if 'Taxi-v4' in gym.registry else 'Taxi-v3'}"
SCHEMES = ("none", "mean_baseline", "leave_one_out", "value_baseline", "td0", "n_step")
VARIANTS: dict[str, tuple[str, ...]] = {
    **{name: ("reinforce", f"variance={name}") for name in SCHEMES},
    "optimal_baseline": ("reinforce", "variance=optimal_baseline"),
    "per_parameter": ("reinforce", "variance=optimal_baseline", "variance.kind=per_parameter"),
    "per_step": ("reinforce", "variance=optimal_baseline", "variance.kind=per_step"),
    "normalised": ("a2c", "variance=gae", "variance.normalised=true"),
    "multi_categorical": ("ppo", "algo.entropy=0.01"),
    "bernoulli": ("ppo", "critic.clip=0.2"),
    "shared": ("ppo", "network=shared", "algo.entropy=0.01", "critic.clip=0.2"),
    "norms": ("ppo", "state_norm=true", "reward_scaling=true", "advantage_norm=full"),
    "minibatch_norm": ("ppo", "advantage_norm=full", "advantage_scope=minibatch"),
    "logit_scale": ("ppo", "network.logit_scale=2", "network.activation=relu"),
    "fit_before": ("a2c", "critic.fit=before"),
    "rmsprop": ("a2c", "optimizer=rmsprop", "optimizer.max_grad_norm=0.1"),
    "adamw": ("a2c", "optimizer=adamw"),
    "sgd": ("a2c", "optimizer=sgd"),
    "trajectory": ("off_policy_pg", "algo.weights=trajectory", "algo.truncate=5"),
    "past_only": ("off_policy_pg", "algo.weights=past_only", "algo.self_normalise=true"),
    "sampled": ("npg", "algo.fisher=sampled", "algo.step=fixed"),
    "no_corrections": ("off_policy_ac", "algo.corrections=none"),
    "q_next": ("off_policy_ac", "algo.corrections=q_next", "algo.baseline=v"),
    "expectation": ("off_policy_ac", "algo.baseline=expectation", "variance=q"),
}
MORE: dict[str, tuple[str, ...]] = {  # those of the slow suite
    "group": ("reinforce", "variance=group", "variance.kind=grpo", "sampler.group=2"),
    "dr_grpo": ("ppo", "variance=group", "sampler=episodes", "variance.kind=dr_grpo", "sampler.group=2"),
    "joint": ("ppo", "network=joint", "optimizer.max_grad_norm=0.5"),
    "gelu": ("a2c", "network.activation=gelu"),
    "squashed": ("ppo", "policy=squashed", "algo.entropy=0.01"),
    "beta": ("ppo", "policy=beta"),
    "clipped": ("a2c", "policy=clipped"),
    "gsde": ("ppo", "policy=gsde"),
    "gsde_held": ("a2c", "policy=gsde", "policy.sample_freq=2", "policy.learn_features=true"),
    "state_std": ("ppo", "policy=state_std", "algo.entropy=0.01"),
    "state_std_step": ("npg", "policy=state_std"),
    "scale": ("ppo", "advantage_norm=scale", "algo.clip_high=0.3", "algo.dual_clip=3"),
    "center": ("a2c", "advantage_norm=center"),
    "sequence": ("ppo", "algo.ratio=sequence", "sampler=episodes", "algo.minibatches=2"),
    "per_decision": ("off_policy_pg", "algo.weights=per_decision"),
    "v_trace": ("off_policy_pg", "algo.weights=v_trace", "variance=value_baseline"),
    "retrace": ("off_policy_pg", "algo.weights=retrace", "variance=advantage", "critic=fitted_q"),
    "storm_decision": ("storm_pg", "algo.weights=per_decision", "algo.truncate=5"),
    "reference": ("ppo", "reference.policy=start", "reference.place=both"),
    "fitted_q": ("reinforce", "variance=all_actions", "critic=fitted_q"),
    "action_baseline": ("reinforce", "variance=action_baseline", "critic=fitted_q"),
    "cnn": (
        "ppo",
        "network=cnn",
        PIXELS,
        "network.channels=[2]",
        "network.kernels=[3]",
        "network.strides=[2]",
    ),
    "shared_cnn": (
        *("ppo", "network=shared_cnn", PIXELS),
        *("network.channels=[2]", "network.kernels=[3]", "network.strides=[2]"),
    ),
    "mask": ("ppo", TAXI, "env.action_mask=true"),
}
CHOICES = ("retrace", "fitted_q", "action_baseline")  # of actions that are listed


@pytest.mark.parametrize("name", [*VARIANTS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_variants(name: str) -> None:
    algo, *words = (VARIANTS | MORE)[name]
    no_detail = name in ("cnn", "shared_cnn", "shared", "joint")  # one trunk has none, the stand-in no jvp
    detail = {"diagnostics.detail": not no_detail}
    kind = name if name in SPACES else "categorical" if name in CHOICES else "gaussian"
    own = {"env.kwargs": {}} if any(word.startswith("env=") for word in words) else {}
    syncs = compare_update(small_settings(algo, *words, kind=kind, **EVERY_ROW | detail | own))
    assert {place: n for place, n in syncs.items() if place not in DECIDES | {ONCE}} == ROW
    assert syncs[ONCE] <= (name == "squashed")


def test_a_target_kl_is_looked_at_once_an_epoch() -> None:
    syncs = compare_update(small_settings("ppo", "algo.target_kl=100", **{"algo.epochs": 2}))
    assert syncs == {"algorithms/ppo.py: exceeds_target_kl": 2}


def test_a_solver_of_dense_matrices_looks_at_its_own_code_of_errors() -> None:
    syncs = compare_update(small_settings("npg", "algo.solver=dense"))
    assert syncs == {"optimization/natural_gradient.py: solve_dense": 1}


TABULAR = {
    "critic": ("a2c", "critic=exact", "diagnostics.exact=true"),
    "fitted": ("a2c", "diagnostics.exact=true"),
    "state_ratio": ("off_policy_pg", "algo.weights=state_ratio"),
    "scaled": ("a2c", "critic=scaled"),
    "advantage": ("a2c", "critic=exact", "variance=advantage"),
    "vine": ("a2c", "critic=vine", "variance=td0"),
}


@pytest.mark.parametrize("name", TABULAR)
def test_exact_values_are_computed_on_the_host(name: str) -> None:
    algo, *words = TABULAR[name]
    given = small_settings(algo, "env=FrozenLake-v1", *words, **EVERY_ROW | {"env.kwargs": {}})
    syncs = compare_update(given)
    on_host = VINE if name == "vine" else TABLE
    assert {place: n for place, n in syncs.items() if place not in on_host} == ROW
    assert any(place in syncs for place in on_host)


GROUPS = ("algo", "variance", "critic", "network", "optimizer", "policy", "sampler")


def test_every_choice_of_the_configuration_is_among_them() -> None:
    """So that a new file there has a test on a device."""
    chosen = {word for _, *words in [*VARIANTS.values(), *MORE.values(), *TABULAR.values()] for word in words}
    chosen |= {f"algo={algo}" for algo in ALGOS} | {f"sampler={sampler}" for _, sampler in PAIRS}
    for given in map(small_settings, ALGOS):
        chosen |= {f"{group}={given[group]['name']}" for group in GROUPS if group in given}
    choices = {f"{group}={path.stem}" for group in GROUPS for path in (conf_dir() / group).glob("*.yaml")}
    assert choices - chosen == set()
