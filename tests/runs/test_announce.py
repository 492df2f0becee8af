"""What a sweep says of its size before it starts."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pgrun.cli import main as cli
from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.runs.announce import describe_size
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

SIZES = {
    "-m experiment=ablate trainer.total_steps=1e6": "45 jobs, 1,000,000 steps a run: 45,000,000 in all",
    "-m seed=0": "1 job, 100,000 steps a run: 100,000 in all",
    "-m trainer.total_steps=1000,3000 seeds=[0,1]": (
        "2 jobs of 2 seeds each, 1,000 to 3,000 steps a run: 8,000 in all"
    ),
}


@pytest.mark.parametrize("line", SIZES)
def test_jobs_and_steps(line: str, here: Path) -> None:  # noqa: F811
    assert describe_size(compose_jobs(read_command(shlex.split(line))).composed) == SIZES[line]


def test_trials_of_a_search(here: Path) -> None:  # noqa: F811
    line = "-m hydra/sweeper=optuna hydra.sweeper.n_trials=7 'optimizer.lr=interval(0.1,0.2)' seeds=[0,1]"
    composed = compose_jobs(read_command(shlex.split(line))).composed
    assert (
        describe_size(composed, 7) == "7 trials of 2 seeds each, 100,000 steps a run: up to 1,400,000 in all"
    )


def test_it_is_said_before_anything_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def stop(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_jobs_of_sweep", stop)
    answer = pgrun("-m experiment=ablate hydra.sweep.dir=s")
    assert answer.out.splitlines()[:2] == [
        "45 jobs, 100,000 steps a run: 4,500,000 in all; how long it takes is told after the first",
        "writes to s; watch it: tensorboard --logdir s",
    ]
    search = "-m hydra/sweeper=optuna 'optimizer.lr=interval(0.1,0.2)' hydra.sweep.dir=t"
    first = pgrun(search).out.splitlines()[0]
    assert first.startswith("20 trials, 100,000 steps a run: up to 2,000,000 in all; how long it takes")
