"""An episode of three million steps: saved at once, resumed bit for bit, and no more memory at its end than
at its beginning.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from pgrun.storage.checkpoint import Checkpoints
from pgrun.training.build import build_run
from pgrun.training.loop import train_run
from pgrun.training.saver import Saver
from tests.helpers.support_pipeline import settings
from tests.helpers.support_resume import differences, trace

LONG = 3_000_000
WORDS = [
    *(
        "env=HalfCheetah-v5",
        "env.max_episode_steps=100_000_000",
        "env.num_envs=1",
        "trainer.eval_max_steps=50",
    ),
    *(
        "algo=a2c",
        "network.hidden=[8]",
        "sampler.steps=2000",
        "diagnostics.gradient_every=0",
        "logger.every=20",
    ),
    *("trainer.checkpoint_every=500_000", "optimizer.lr=1e-4"),
]


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float, int]]:
    """(environment steps, seconds of the save, bytes in memory) of every save from now on."""
    collected: list[tuple[int, float, int]] = []
    real = Saver.save

    def save(saver: Saver, run: Any, counters: Any, *given: Any, **named: Any) -> None:
        begun = time.perf_counter()
        real(saver, run, counters, *given, **named)
        collected.append((counters.env_steps, time.perf_counter() - begun, resident()))

    monkeypatch.setattr(Saver, "save", save)
    return collected


@pytest.mark.slow
def test_of_three_million_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saves = measured(monkeypatch)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    own = settings(*WORDS, f"trainer.total_steps={LONG + 20_000}")
    train_run(build_run(own), whole)
    print(*saves, sep="\n")
    assert all(seconds < 1 for _, seconds, _ in saves)
    assert saves[-1][2] - saves[1][2] < 10 * 2**20, "memory between half a million steps and three"
    shutil.copytree(whole, resumed)
    for path in (resumed / "checkpoints").glob(f"00{LONG + 20_000}.*"):
        path.unlink()
    (resumed / "summary.json").unlink()
    state, problems = Checkpoints(resumed / "checkpoints").load()
    assert (problems, state["counters"]["env_steps"]) == ([], LONG)
    assert (state["counters"]["episodes"], state["run"]["envs"]["columns"][0]["steps"]) == (0, LONG)
    begun = time.perf_counter()
    run = build_run(own)
    run.load_state_dict(state["run"])
    print("brought back in", time.perf_counter() - begun, "s")
    train_run(build_run(own), resumed, state)
    assert differences(trace(whole), trace(resumed)) == []
