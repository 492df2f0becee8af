"""What a run leaves behind, read back with TensorBoard's own reader, csv, json and safetensors."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.plugins.hparams import metadata

from pgrun.errors import OwnCodeFault
from pgrun.storage.log import Log
from pgrun.training.build import build_run
from pgrun.training.loop import list_tags, train_run
from tests.helpers.support_log import METHODS, events, rows
from tests.helpers.support_pipeline import built, settings, trained

each_method = pytest.mark.parametrize("algo", METHODS)


@each_method
def test_every_scalar_is_in_both_files_with_equal_values(finished, algo: str) -> None:
    folder, _, _ = finished(algo)
    wanted, table, board = METHODS[algo][1], rows(folder), events(folder)
    assert set(table[0]) == wanted | {"env_steps"}
    assert next(iter(table[0])) == "env_steps", "the first column"
    assert set(board.Tags()["scalars"]) == wanted
    for tag in wanted:
        points = [(int(row["env_steps"]), np.float32(row[tag])) for row in table if row[tag]]
        collected = [(event.step, np.float32(event.value)) for event in board.Scalars(tag)]
        assert collected == points, tag  # TensorBoard keeps float32
        assert len(points) > 2, tag
        assert all(math.isfinite(x) for _, x in points), tag
    steps = [int(row["env_steps"]) for row in table]
    assert steps == sorted(set(steps))


@each_method
def test_scalars_have_their_meaning(finished, algo: str) -> None:
    folder, _, summary = finished(algo)
    table = rows(folder)
    final = table[-1]
    assert int(final["env_steps"]) == summary["env_steps"] >= 1500
    assert float(final["return/eval"]) == summary["eval"]["return_mean"]
    assert sum(bool(row["return/eval"]) for row in table) == 3, "at 500, 1000 and the end"
    for row in table:
        if row["return/train"]:  # CartPole earns 1 a step
            assert float(row["return/train"]) == pytest.approx(float(row["episode/length"]))
        if row["kl/old_new"]:
            assert 0 <= float(row["kl/old_new"]) <= float(row["kl/max"])
            assert 0 < float(row["ratio/ess"]) <= 1 + 1e-6  # float32
            assert 0 <= float(row["policy/entropy"]) <= math.log(2) + 1e-6
        assert 0 < float(row["time/learning_share"]) < 1
    counts = [float(row["episode/count"]) for row in table]
    assert counts == sorted(counts)


def test_the_learning_rate_and_sigma_of_each_update(tmp_path: Path) -> None:
    """A linear schedule is at its share when the update is made; σ is that of the policy after it, and no
    other policy has one.
    """
    words = (
        "algo=a2c env=Pendulum-v1 env.num_envs=4 sampler.steps=8 optimizer.schedule=linear optimizer.lr=0.1 "
        "network.hidden=[4]"
    )
    run, _ = trained(tmp_path, *words.split(), "trainer.total_steps=128", "trainer.eval_episodes=1", seed=1)
    table = rows(tmp_path)
    before = [0, *(int(row["env_steps"]) for row in table[:-1])]
    assert [float(row["optimizer/lr"]) for row in table] == pytest.approx(
        [0.1 * (1 - n / 128) for n in before]
    )
    sigmas = [float(row["policy/std"]) for row in table]
    assert sigmas[-1] == pytest.approx(float(run.policy.free.exp().mean()))
    assert len({math.exp(-0.5), *sigmas}) == len(table) + 1, "it moves with every update"


def test_a_natural_step_has_no_learning_rate() -> None:
    tags = list_tags(built("algo=trpo", "env=Pendulum-v1"))
    assert ("optimizer/lr" in tags, "policy/std" in tags) == (False, True)


def test_a_tag_that_a_run_has_already_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a second column of that name."""
    run = built("algo=a2c", "env=CartPole-v1")
    monkeypatch.setattr(type(run.algorithm), "tags", ("gradient/variance", "mine"))
    with pytest.raises(OwnCodeFault, match=r"A2c\.tags lists gradient/variance, which a run has already"):
        list_tags(run)


def test_a_log_of_an_earlier_pgrun_keeps_its_columns(tmp_path: Path) -> None:
    """A value never stands under another tag; the events have what the table has not."""
    log = Log(tmp_path, ["kl/max"])
    log.row(5, {"kl/max": 0.25})
    position = log.position()
    log.close(True)
    log = Log(tmp_path, ["policy/std", "kl/max"], position)
    log.row(10, {"policy/std": 0.5, "kl/max": 0.125})
    log.close(True)
    assert rows(tmp_path)[1] == {"env_steps": "10", "kl/max": "0.125"}
    assert events(tmp_path).Scalars("policy/std")[0].value == 0.5
    with pytest.raises(ValueError, match="not in fieldnames"):
        Log(made(tmp_path / "new"), ["kl/max"]).row(1, {"policy/std": 0.5})


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@each_method
def test_episodes_are_all_accounted_for(finished, algo: str) -> None:
    """Σ count·length of the finished episodes is env_steps, less what is under way."""
    folder, run, summary = finished(algo)
    total, before = 0.0, 0.0
    for row in rows(folder):
        count = float(row["episode/count"])
        if row["episode/length"]:
            total += (count - before) * float(row["episode/length"])
        before = count
    under_way = 0 if algo == "reinforce" else run.envs.time[~run.envs.ended].sum()
    assert total + under_way == pytest.approx(summary["env_steps"])


@each_method
def test_hyperparameters_are_in_the_same_run(finished, algo: str) -> None:
    """One event file, no sub-directory; numbers as numbers, switches as switches; the seed apart, so that
    seeds share a row.
    """
    folder, _, _ = finished(algo)
    assert len(list(folder.rglob("*tfevents*"))) == 1
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["checkpoints"]
    content = events(folder).PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    collected = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
    assert collected["algo.name"] == algo
    assert collected["trainer.total_steps"] == 1500.0
    assert collected["state_norm"] is (algo == "ppo")
    assert collected["network.hidden"] == "[16]"
    assert "null" not in collected.values()
    assert isinstance(collected["optimizer.lr"], float)
    assert "seed" not in collected
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == 1, "STATUS_SUCCESS"


def group(folder: Path) -> str:
    content = events(folder).PluginTagToContent("hparams")
    return metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG]).group_name


def test_seeds_of_one_configuration_share_a_group(tmp_path) -> None:
    names = []
    for k, (seed, lr) in enumerate([(0, 1e-3), (1, 1e-3), (0, 2e-3)]):
        (folder := tmp_path / str(k)).mkdir()
        log = Log(folder, ["kl/max"])
        log.hyperparameters(settings("algo=ppo", seed=seed, **{"optimizer.lr": lr}))
        log.close(True)
        names.append(group(folder))
    assert names[0] == names[1] != names[2]


def test_rows_reach_the_disk_while_the_run_goes_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pgrun.storage.log.FLUSH_EVERY", 0.0)
    log = Log(tmp_path, ["kl/max"])
    time.sleep(0.01)
    log.row(5, {"kl/max": 0.25})
    assert rows(tmp_path) == [{"env_steps": "5", "kl/max": "0.25"}]
    assert events(tmp_path).Scalars("kl/max")[0].value == 0.25
    log.close(True)


def test_a_run_that_fails_says_so(tmp_path) -> None:
    """What was logged before is on disk, and the session's status is a failure."""
    run = built(
        *["algo=ppo", "env=CartPole-v1", "env.vector=loop", "sampler.steps=32", "trainer.total_steps=2000"]
    )
    play, left = run.envs._step, iter(range(40))

    def breaks(action):
        if next(left, None) is None:
            raise ZeroDivisionError
        return play(action)

    run.envs._step = breaks
    with pytest.raises(ZeroDivisionError):
        train_run(run, tmp_path)
    content = events(tmp_path).PluginTagToContent("hparams")
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == 2, "STATUS_FAILURE"
    assert len(rows(tmp_path)) == 1
    assert not (tmp_path / "summary.json").exists()


@each_method
def test_summary_has_the_contract_s_keys(finished, algo: str) -> None:
    folder, _run, summary = finished(algo)
    written = json.loads((folder / "summary.json").read_text())
    assert written == summary
    assert set(written) == {
        "status",
        "algo",
        "variance",
        "env",
        "seed",
        "backend",
        "env_steps",
        "updates",
        "wall_seconds",
        "eval_seconds",
        "env_steps_per_second",
        "eval",
        "params_sha256",
        "versions",
    }
    assert set(written["eval"]) == {"return_mean", "return_std", "episodes"}
    assert written["status"] == "finished"
    assert (written["algo"], written["env"], written["seed"]) == (algo, "CartPole-v1", 7)
    assert written["updates"] == len(rows(folder)), "every update is logged here"
    assert {"pgrun", "torch", "gymnasium", "numpy", "python"} <= set(written["versions"])


@each_method
def test_the_policy_loads_back_without_pickle(finished, algo: str) -> None:
    """Into a policy built from policy.json's own configuration, with the same outputs on raw observations."""
    folder, run, _ = finished(algo)
    described = json.loads((folder / "policy.json").read_text())
    tensors = load_file(folder / "policy.safetensors")
    with safe_open(folder / "policy.safetensors", "pt") as file:
        assert set(file.keys()) == set(tensors)
    statistics = {"obs_count", "obs_mean", "obs_squares"}
    critic = {"critic.phi"} if run.estimator.scheme.uses_critic and not run.policy.value_outputs else set()
    assert set(tensors) == {"theta"} | critic | (statistics if algo == "ppo" else set())
    again = build_run({**described["config"], "seed": 99})
    raw = torch.randn(50, 4)
    wanted = run.policy.params(run.policy.normaliser(raw))
    assert not torch.equal(again.policy.params(again.policy.normaliser(raw)), wanted)
    again.policy.load_state_dict(tensors)
    assert torch.equal(again.policy.params(again.policy.normaliser(raw)), wanted)
    assert "Discrete(2)" in described["action_space"]
