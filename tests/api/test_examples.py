"""The files in examples/ do what they say, with budgets that take no time."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from pgrun.training.counters import Counters
from pgrun.training.loop import collect_rollout, learn_from_rollout, make_batch
from pgrun.types import Batch, Rollout
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_pipeline import built, draw, trained

FOLDER = Path(__file__).parents[2] / "examples"
TINY: dict[str, dict[str, Any]] = {  # arguments of each file's main
    "train_from_python": {"steps": 500},
    "new_scheme": {"steps": 500, "episodes": 100},
    "new_algorithm": {"steps": 200, "betas": (0.5,)},
    "own_environment_and_network": {"steps": 300},
    "compare_runs": {"steps": 300, "seeds": 1},
    "behaviour_cloning": {"steps": 300, "pairs": 50, "played": 100},
}
PRINTED = {  # what a reader sees, but for the numbers
    "train_from_python": (
        r"return # after # steps, in .*\nlast update: KL #, entropy #\nat the start: left and right with "
        r"\[# #\], log π\(right\) = #\nmost likely actions: return #\nsampled actions: return "
        r"#\nenv=CartPole-v2: not registered with gymnasium; type env=CartPole-v1\n"
    ),
    "new_scheme": r"none +variance #, cosine with the exact ∇J #\nmean_baseline +variance #.*\nranked_return "
    r"+variance #.*\n"
    r"trained with ranks: return #\n",
    "new_algorithm": (
        r"β = #: nine of ten reach the goal (after #|not in #) steps; at the end #% of the rows are "
        r"imitated\n"
    ),
    "own_environment_and_network": (
        r"return # of at most 1\n(from the middle, the exit at #: down with #, up with "
        r"#\n){2}"
    ),
    "behaviour_cloning": r"the expert: return #\nits clone, from # actions and no reward: return #\n",
    "compare_runs": r"ppo +return +# over 1 seeds; KL of an update #, the largest #\nreinforce +return .*\n",
}
NUMBER = r"-?[\\d.]+(e-?\\d+)?"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in TINY:
        sys.modules.pop(name, None)
    gym.registry.pop("Corridor-v0", None)


def test_every_example_is_run() -> None:
    assert sorted([*TINY, "search_to_optuna"]) == sorted(path.stem for path in FOLDER.glob("*.py"))


def test_a_search_becomes_a_study(examples: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six trials, of which one has no result: the study has their values, and what decided comes first."""
    pytest.importorskip("sklearn")
    lrs = [1e-4, 1e-3, 1e-2, 1e-1, 2e-4, 3e-3]
    trials = [{"optimizer.lr": lr, "network.hidden": [16 + 16 * (k % 2)]} for k, lr in enumerate(lrs)]
    space = {"optimizer.lr": "tag(log,interval(1e-4,1e-1))", "network.hidden": "[16],[32]"}
    (tmp_path / "search.json").write_text(json.dumps({"space": space, "trials": trials}))
    for k, lr in enumerate(lrs[:-1]):
        folder = tmp_path / f"{k}_lr={lr}"
        folder.mkdir()
        ended = {"status": "finished", "eval": {"return_mean": math.log(lr)}}
        (folder / "summary.json").write_text(json.dumps(ended))
    study = example("search_to_optuna").main(tmp_path)
    assert [trial.value for trial in study.trials] == [*map(math.log, lrs[:-1]), None]
    assert study.best_params == {"optimizer.lr": 0.1, "network.hidden": "[32]"}
    assert capsys.readouterr().out.startswith("optimizer.lr")


@pytest.mark.parametrize("name", TINY)
def test_an_example_prints_what_it_promises(
    name: str,
    examples: None,
    here: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    importlib.import_module(name).main(**TINY[name])
    assert re.fullmatch(re.sub("#", NUMBER, PRINTED[name]), capsys.readouterr().out)


def example(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_ranks_are_of_the_order_alone(examples: None) -> None:
    """Three episodes with returns 5, 1, 1: one beats both, the others tie and are beaten once."""
    names = ("obs", "action", "log_prob", "params", "terminated", "ended", "raw_obs", "raw_reward")
    reward = torch.tensor([[2.0, 1.0, 0.0], [3.0, 0.0, 1.0]])
    rest = {"mask": torch.ones(2, 3), "time": torch.tensor([[0.0], [1.0]]).expand(2, 3)}
    rollout = Rollout(
        **dict.fromkeys(names, reward), reward=reward, **rest, count=3.0, whole_episodes=True
    )  # what it does not read is anything
    psi = example("new_scheme").RankedReturn().psi(rollout, torch.zeros(3, 3), 1.0)
    assert psi.tolist() == [[1.0, -0.5, -0.5]] * 2


def test_imitation_is_the_gradient_of_its_formula(examples: None) -> None:
    """Against the sum written out; without β it is A2C."""
    rows = {name: torch.randn(6, generator=draw(i)) for i, name in enumerate(("psi", "log_prob", "surplus"))}
    mask, none = torch.tensor([1.0, 1, 0, 1, 1, 1]), torch.zeros(6)
    batch = Batch(
        none, none, none, none, rows["psi"], mask, none, none, 4.0, extra={"surplus": rows["surplus"]}
    )
    cls = example("new_algorithm").SelfImitation
    for beta in (0.0, 0.5):
        expected = mask * (rows["psi"] + beta * rows["surplus"]) / 4
        got = cls(imitation=beta).gradient_weight(rows["log_prob"], batch)
        assert torch.allclose(got, expected, atol=1e-7)  # float32


def test_a_clone_climbs_the_cross_entropy(examples: None, tmp_path: Path) -> None:
    """Its update is torch's gradient of the cross-entropy of the given actions, Ψ = 1; a run goes on as it
    was.
    """
    data = tmp_path / "given.npz"
    random = np.random.default_rng(0)
    np.savez(data, obs=random.normal(size=(9, 4)).astype(np.float32), action=random.integers(2, size=9))
    algo = {"name": "cloning", "data": str(data), "rows": 32, "entropy": 0.0}
    given = {"modules": ["behaviour_cloning"], "advantage_norm": "none", "network.hidden": [8], "algo": algo}
    run, again = (built("algo=reinforce", **given, **{"sampler.episodes": 2}) for _ in range(2))
    batch = make_batch(run, collect_rollout(run)[0])[2]
    assert (batch.psi == 1).all()
    assert len(set(map(tuple, batch.obs.tolist()))) <= 9
    theta = run.policy.theta.clone().requires_grad_()
    with torch.enable_grad():
        logits = run.policy.with_theta(theta).params(batch.obs)
        (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, batch.action), theta)
    torch.testing.assert_close(run.algorithm.loss_gradient(batch, run.learner), slope)
    assert slope.norm() > 0.1
    learn_from_rollout(run, collect_rollout(run)[0], Counters())
    again.load_state_dict(run.state_dict())
    for one in (run, again):
        learn_from_rollout(one, collect_rollout(one)[0], Counters())
    assert torch.equal(run.policy.theta, again.policy.theta)


def test_without_imitation_the_new_algorithm_is_a2c(examples: None, tmp_path: Path) -> None:
    """Through whole runs, in minibatches that shuffle the new field with the rest."""
    a2c = {"name": "a2c", "epochs": 2, "minibatches": 2, "entropy": 0.0}
    changes = {"trainer.total_steps": 200, "modules": ["new_algorithm"]}
    hashes = []
    for i, own in enumerate(({}, {"imitation": 0.0}, {"imitation": 0.5})):
        algo = {**a2c, **own, "name": "self_imitation" if own else "a2c"}
        (tmp_path / str(i)).mkdir()
        _, summary = trained(tmp_path / str(i), "algo=a2c", **changes, algo=algo)
        hashes.append(summary["params_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]
