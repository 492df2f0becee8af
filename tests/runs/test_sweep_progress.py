"""How far a sweep is, read from its jobs' folders."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgrun.command.app import PGRUN
from pgrun.runs import announce
from pgrun.runs.announce import describe_cost, describe_start, format_duration
from pgrun.runs.sweep_progress import SweepProgress, telling_progress
from pgrun.tools.study import progress as study_progress
from tests.helpers.fixtures_cli import here  # noqa: F401


def job(folder: Path, steps: int = 1000, **settings: Any) -> Any:
    given = {
        "algo": {"name": "ppo"},
        "variance": {"name": "gae"},
        "env": {"id": "X-v0"},
        "seed": 0,
        "trainer": {"total_steps": steps},
        **settings,
    }
    return SimpleNamespace(folder=folder, settings=given)


def finish(folder: Path, status: str = "finished", value: float = 7.5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = {"status": status, "seed": 0, "eval": {"return_mean": value}, "error": "why", "env_steps": 1000}
    (folder / "summary.json").write_text(
        json.dumps({**told, "algo": "ppo", "env": "X-v0", "wall_seconds": 2})
    )


def test_after_each_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(tmp_path / f"{n}_seed={n}", 1000 * (n + 1)) for n in range(3)]
    progress = SweepProgress(jobs, PGRUN)
    progress.begun -= 10
    finish(jobs[1].folder)
    progress.look()
    progress.look()
    progress.begun -= 10  # 20 s for 2000 + 1000 steps, and 3000 are left
    finish(jobs[0].folder, "failed")
    progress.look()
    finish(jobs[2].folder)
    progress.look()
    assert capsys.readouterr().err.splitlines() == [
        "sweep: 1 of 3 jobs done (1_seed=1: 7.5), about 20 s left",
        "sweep: 2 of 3 jobs done (0_seed=0: failed), about 20 s left",
        "sweep: 3 of 3 jobs done (2_seed=2: 7.5)",
    ]


def test_jobs_that_were_done_before_take_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And one that failed before counts when it has ended anew."""
    jobs = [job(tmp_path / str(n)) for n in range(3)]
    finish(jobs[0].folder)
    finish(jobs[1].folder, "interrupted")
    os.utime(jobs[1].folder / "summary.json", (1, 1))
    progress = SweepProgress(jobs, PGRUN)
    progress.look()
    progress.begun -= 10
    finish(jobs[1].folder)
    progress.look()
    assert capsys.readouterr().err == "sweep: 2 of 3 jobs done (1: 7.5), about 10 s left\n"


def test_from_a_thread_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(tmp_path / "0")]
    with telling_progress(jobs, PGRUN):
        finish(jobs[0].folder)
    assert "1 of 1 jobs done" in capsys.readouterr().err


def test_what_starts_is_said_in_one_line(here: Path) -> None:  # noqa: F811
    folder = Path("outputs/2026-01-31/ppo_X-v0_s0_12-00-00")
    assert describe_start(job(folder), PGRUN) == (
        f"ppo · gae · X-v0 · seed 0, 1,000 steps; writes to {folder}; watch it: tensorboard --logdir outputs"
    )
    told = describe_start(job(Path("mine"), seeds=[0, 1]), PGRUN)
    assert "seeds 0, 1, 1,000 steps each; writes to mine; watch it: tensorboard --logdir mine" in told


def test_the_cost_is_what_earlier_runs_took(here: Path) -> None:  # noqa: F811
    jobs = [job(Path(f"s/{n}"), 10**6) for n in range(3)]
    assert describe_cost(jobs) == "how long it takes is told after the first"
    before = Path("outputs/2026-01-31/ppo_X-v0_s0_12-00-00")
    finish(before)  # 500 steps a second
    (before / "job.json").write_text("{}")
    assert describe_cost(jobs) == "about 100 min one after the other, as earlier runs took"
    assert describe_cost(jobs, trials=20) == "up to 11.1 h one after the other, as earlier runs took"
    assert describe_cost([job(Path("s/0"))]) == "", "nobody minds two seconds"
    (before / "summary.json").write_text(
        '{"env_steps": "many", "wall_seconds": 0, "algo": "ppo", "env": "X-v0"}'
    )
    assert announce.measure_earlier_speeds() == {}


@pytest.mark.parametrize(
    ("seconds", "told"), [(3, "3 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h"), (200000, "2.3 days")]
)
def test_durations(seconds: float, told: str) -> None:
    assert format_duration(seconds) == told


def test_a_study_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = study_progress.EpisodeProgress(said.append, 2000, "episodes")
    for _ in range(4):
        now[0] += 3
        progress.add(500)
    assert said == ["2,000 episodes", "  1,000 of 2,000 episodes, about 6 s left"]
