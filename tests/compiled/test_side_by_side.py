"""The policy's steps and the critic's at the same time: the same run as one after the other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")

from pgrun.compiled import learner, side_by_side
from pgrun.compiled.iterations import on_policy
from pgrun.errors import Diverged
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
    run = side_by_side.run_side_by_side

    def noting(*calls: Any) -> Any:
        def note(call: Any) -> Any:
            seen.append(threading.current_thread().name)
            return call()

        return run(*(lambda call=call: note(call) for call in calls))

    monkeypatch.setattr(side_by_side, "count_cores", lambda: number)
    monkeypatch.setattr(side_by_side, "ROWS_WORTH_IT", 1)
    for module in (learner, on_policy):
        monkeypatch.setattr(module, "run_side_by_side", noting)
    return seen


@pytest.mark.parametrize("name", UPDATES)
def test_the_number_of_cores_moves_no_bit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every update logged, and with many of which none is looked at."""
    hashes = set()
    for cores in (1, 2):
        for cadence in ("logger.every=1", "logger.every=1000"):
            folder = tmp_path / f"{cores}{cadence}"
            threads = set_cores(monkeypatch, cores)
            run, _ = trained(folder, *UPDATES[name], *QUICK, cadence, "diagnostics.gradient_every=0")
            assert (run.iterations is None) == (name == "an update at a time")
            updates = summary(folder)["updates"]
            assert len(threads) == (0 if cores == 1 else 2 * updates)
            assert sum(thread.startswith("second core") for thread in threads) == len(threads) // 2
            hashes.add(summary(folder)["params_sha256"])
    assert len(hashes) == 1


def test_numbers_that_are_not_finite_end_the_run_in_the_same_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*RUNS["ppo"], *QUICK, "critic.optimizer.lr=1e38", "logger.every=1000")
    told = []
    for cores in (1, 2):
        set_cores(monkeypatch, cores)
        with pytest.raises(Diverged) as fault:
            trained(tmp_path / str(cores), *words)
        told.append(str(fault.value))
    assert told[0] == told[1]


def test_one_core_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "count_cores", lambda: 1)
    assert not side_by_side.is_worth_it(1 << 20)
    monkeypatch.setattr(side_by_side, "count_cores", lambda: 2)
    assert side_by_side.is_worth_it(1 << 20)
    assert not side_by_side.is_worth_it(side_by_side.ROWS_WORTH_IT - 1)


def test_a_fault_in_one_waits_for_the_other() -> None:
    ended = threading.Event()

    def fail() -> None:
        raise ValueError("of the first")

    with pytest.raises(ValueError, match="of the first"):
        side_by_side.run_side_by_side(fail, ended.set)
    assert ended.is_set()
