"""The policy's steps and the critic's at the same time: the same run as one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")

from pgrun.compiled import learner
from pgrun.compiled.iterations import on_policy
from pgrun.errors import Diverged
from pgrun.terminal import cores
from tests.compiled.test_iterations import QUICK, RUNS, summary
from tests.helpers.support_pipeline import trained

UPDATES = {
    "in whole iterations": RUNS["ppo"],
    "in whole iterations, one minibatch": RUNS["ppo, one minibatch, ε falling"],
    "an update at a time": (
        *("algo=ppo", "env=CartPole-v1", "tuned=none", "trainer.total_steps=1500", "sampler.steps=32"),
        *("variance.normalised=true", "critic.epochs=2", "critic.minibatches=3", "algo.minibatches=2"),
    ),
}


def set_cores(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """So many for this process, where every update is worth it. The threads that calls were made on."""
    seen: list[str] = []

    def note(call: Callable[[], Any]) -> Any:
        seen.append(threading.current_thread().name)
        return call()

    def run_noted(*calls: Callable[[], Any]) -> list[Any]:
        return cores.run_side_by_side(*(partial(note, call) for call in calls))

    monkeypatch.setattr(cores, "count_cores", lambda: number)
    monkeypatch.setattr(learner, "PASSES_WORTH_A_THREAD", 1)
    for module in (learner, on_policy):
        monkeypatch.setattr(module, "run_side_by_side", run_noted)
    return seen


@pytest.mark.parametrize("name", UPDATES)
def test_the_number_of_cores_moves_no_bit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every update logged, and with many of which none is looked at."""
    hashes = set()
    for number in (1, 2):
        for cadence in ("logger.every=1", "logger.every=1000"):
            folder = tmp_path / f"{number}{cadence}"
            threads = set_cores(monkeypatch, number)
            run, _ = trained(folder, *UPDATES[name], *QUICK, cadence, "diagnostics.gradient_every=0")
            assert (run.iterations is None) == (name == "an update at a time")
            updates = summary(folder)["updates"]
            assert len(threads) == (0 if number == 1 else 2 * updates)
            assert sum(thread.startswith("core") for thread in threads) == len(threads) // 2
            hashes.add(summary(folder)["params_sha256"])
    assert len(hashes) == 1


def test_numbers_that_are_not_finite_end_the_run_in_the_same_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*RUNS["ppo"], *QUICK, "critic.optimizer.lr=1e38", "logger.every=1000")
    told = []
    for number in (1, 2):
        set_cores(monkeypatch, number)
        with pytest.raises(Diverged) as fault:
            trained(tmp_path / str(number), *words)
        told.append(str(fault.value))
    assert told[0] == told[1]


def test_one_core_and_few_rows_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    few = learner.PASSES_WORTH_A_THREAD - 1
    monkeypatch.setattr(cores, "count_cores", lambda: 1)
    assert not learner.is_worth_a_thread(1 << 20)
    monkeypatch.setattr(cores, "count_cores", lambda: 2)
    assert learner.is_worth_a_thread(1 << 20)
    assert not learner.is_worth_a_thread(few)
