"""The same command and seed give the same bits, in any process and whatever else is looked at; other seeds
share nothing.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pgrun.config.random_streams import draw_env_seeds, make_streams, scatter_numbers
from pgrun.envs import EnvSettings, make_envs
from tests.helpers.support_pipeline import trained

ROOT = Path(__file__).parents[2]
BRIEF = "trainer.total_steps=600 env.num_envs=4 diagnostics.gradient_every=1"
COMMANDS = {
    "reinforce cartpole": "algo=reinforce env=CartPole-v1 sampler.episodes=6",
    "a2c cartpole": "algo=a2c env=CartPole-v1 logger.every=1",
    "ppo cartpole": "algo=ppo env=CartPole-v1 sampler.steps=32 network=shared",
    "reinforce pendulum": (
        "algo=reinforce env=Pendulum-v1 sampler.episodes=4 variance=value_baseline env.max_episode_steps=50"
    ),
    "a2c pendulum": "algo=a2c env=Pendulum-v1 logger.every=1",
    "ppo pendulum": "algo=ppo env=Pendulum-v1 sampler.steps=32 state_norm=true reward_scaling=true",
}


def play_all(folder: str, names: list[str]) -> None:
    """Each command in a directory of its own; runs in a process of its own."""
    for name in names:
        place = Path(folder) / name
        place.mkdir()
        trained(place, *COMMANDS[name].split(), *BRIEF.split(), seed=3)


def process(folder: Path, names: list[str], hash_seed: str) -> subprocess.Popen:
    folder.mkdir()
    code = f"from tests.training.test_determinism import play_all; play_all({str(folder)!r}, {names!r})"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> list[Path]:
    """In this process, whatever ran in it before, and in one of their own in the opposite order."""
    places = [tmp_path_factory.mktemp("twice") / name for name in ("one", "two")]
    places[0].mkdir()
    play_all(str(places[0]), list(COMMANDS))  # which leaves machine code for the other
    assert process(places[1], list(COMMANDS)[::-1], "2").wait(timeout=300) == 0
    return places


def metrics(folder: Path, *, without: tuple[str, ...] = ("time/",)) -> list[dict[str, str]]:
    """The rows of metrics.csv as text, less the columns that start like these."""
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith(without)} for row in csv.DictReader(file)]


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_same_command_and_seed_in_two_processes(twice: list[Path], name: str) -> None:
    one, two = (place / name for place in twice)
    assert summary(one)["params_sha256"] == summary(two)["params_sha256"]
    assert summary(one)["eval"] == summary(two)["eval"]
    assert metrics(one) == metrics(two)
    assert len(metrics(one)) > 1
    assert any(row["gradient/variance"] for row in metrics(one))
    tensors = [load_file(folder / "policy.safetensors") for folder in (one, two)]
    assert all(torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0])


def sha(folder: Path, name: str, *words: str, seed: int = 3) -> str:
    folder.mkdir()
    return trained(folder, *COMMANDS[name].split(), *BRIEF.split(), *words, seed=seed)[1]["params_sha256"]


@pytest.mark.parametrize("name", ["reinforce cartpole", "a2c cartpole", "ppo pendulum"])
def test_looking_changes_nothing(twice: list[Path], tmp_path, name: str) -> None:
    """Training with evaluations, or without readings of the gradient's variance, ends
    in the same parameters.
    """
    wanted = summary(twice[0] / name)["params_sha256"]
    assert sha(tmp_path / "a", name, "trainer.eval_every=100", "trainer.eval_episodes=3") == wanted
    assert sha(tmp_path / "b", name, "diagnostics.gradient_every=0", "logger.every=2") == wanted
    evaluated = metrics(tmp_path / "a", without=("time/", "return/eval"))
    assert evaluated == metrics(twice[0] / name, without=("time/", "return/eval"))
    assert sum(bool(row["return/eval"]) for row in metrics(tmp_path / "a")) > 1


def test_another_seed_is_another_run(twice: list[Path], tmp_path) -> None:
    for k, name in enumerate(("reinforce cartpole", "a2c pendulum", "ppo cartpole")):
        actual = sha(tmp_path / str(k), name, seed=4)
        assert actual != summary(twice[0] / name)["params_sha256"]


# --- streams ------------------------------------------------------------------------------------------------

SEEDS, ENVS = range(100), 64


def test_seeds_share_no_stream() -> None:
    """100 seeds × (64 environments, 20 evaluation environments, 3 generators): all different."""
    collected = []
    for seed in SEEDS:
        random = make_streams(seed, "cpu")
        collected += draw_env_seeds(random.envs, ENVS) + draw_env_seeds(random.evaluation, 20)
        collected += [g.initial_seed() for g in (random.init, random.noise, random.shuffle)]
    assert len(collected) == len(set(collected)) == 100 * (64 + 20 + 3)
    assert len({seed + i for seed, i in itertools.product(SEEDS, range(ENVS))}) == 163, (
        "negative control: seed + i"
    )


def test_no_two_environments_have_the_same_seed() -> None:
    """Of 31 bits, which NumPy's old generators take.

    Drawn, some would be equal: 39 of 400 000 are to be expected.
    """
    actual, drawn = [], []
    for seed in (*range(198), 2**17 - 1, 2**17):
        random = make_streams(seed, "cpu")
        for sequence in (random.envs, random.evaluation):
            actual += draw_env_seeds(sequence, 1024) if seed < 2**17 else draw_env_seeds(sequence, 8)
            drawn += (sequence.generate_state(1024) >> 1).tolist()
    assert len(actual) == len(set(actual))
    assert 0 <= min(actual) <= max(actual) < 2**31
    assert len(drawn) > len(set(drawn)), "negative control"


def test_generators_of_numpys_old_kind_take_the_seeds(tmp_path: Path) -> None:
    _, summary = trained(
        tmp_path, "algo=a2c", "env=support_odd_envs:OldGenerator-v0", "trainer.total_steps=80"
    )
    assert summary["status"] == "finished"


def test_more_environments_and_larger_seeds_have_other_seeds_too() -> None:
    """Without a guarantee, by chance alone."""
    few, many = (
        draw_env_seeds(make_streams(3, "cpu").envs, 1024),
        draw_env_seeds(make_streams(3, "cpu").envs, 5000),
    )
    assert many[:1024] == few
    large = [x for seed in (2**17, 2**40, 2**80) for x in draw_env_seeds(make_streams(seed, "cpu").envs, 100)]
    assert len(set(many + large)) == 5300
    assert max(many + large) < 2**31


def test_a_permutation_leaves_nothing_out() -> None:
    """Numbers of 31 bits stay such, and no two become one; neighbours are no longer near each other."""
    x = np.concatenate([np.arange(2**16), 2**31 - 1 - np.arange(2**16)])
    y = scatter_numbers(x)
    assert len(np.unique(y)) == len(x)
    assert (y.min() >= 0) & (y.max() < 2**31)
    assert 0.4 < (np.abs(np.diff(y)) > 2**29).mean() < 0.7  # (3/4)² = 0.56 for independent ones


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_initial_observations_all_differ(name: str) -> None:
    """Through a loop over environments, and through the native vector program with its single stream."""
    envs = make_envs(EnvSettings(name, ENVS), ENVS)
    starts = []
    for seed in SEEDS:
        envs.reset(draw_env_seeds(make_streams(seed, "cpu").envs, ENVS))
        starts.append(envs.obs.copy())
    rows = np.concatenate(starts)
    assert len(np.unique(rows, axis=0)) == len(rows) == 6400
    envs.reset(draw_env_seeds(make_streams(0, "cpu").envs, ENVS))
    assert (envs.obs == starts[0]).all(), "the same seed starts the same"
    envs.close()


def test_the_number_of_environments_leaves_the_other_streams_alone() -> None:
    assert (
        draw_env_seeds(make_streams(0, "cpu").envs, 8) == draw_env_seeds(make_streams(0, "cpu").envs, 64)[:8]
    )
    assert make_streams(0, "cpu").noise.initial_seed() == make_streams(0, "cpu").noise.initial_seed()
