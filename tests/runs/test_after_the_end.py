"""What happens after a run has come to its result does not take it away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgrun.runs import run_summary
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun

LINE = f"algo=ppo env=my_mod:Line-v0 network.hidden=[4] {QUICK}"


def status_of(folder: Path) -> str:
    status: str = json.loads((folder / "summary.json").read_text())["status"]
    return status


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "pgrun: interrupted: it was finished: r"),
        (OSError(28, "No space left on device", "x"), 1, "pgrun: x: No space left on device"),
    ],
)
def test_a_finished_run_stays_finished(
    error: BaseException,
    code: int,
    said: str,
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_summary, "format_result", raising(error))
    answer = pgrun(f"{LINE} hydra.run.dir=r")
    assert (answer.code, answer.err.splitlines()[-1]) == (code, said)
    assert status_of(here / "r") == "finished"


def test_a_longer_run_that_is_stopped_is_not_finished(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The result that was there before it went on is no result of it."""
    assert pgrun(f"{LINE} hydra.run.dir=r").code == 0
    monkeypatch.setattr("pgrun.training.loop.run_updates", raising(KeyboardInterrupt()))
    answer = pgrun("resume=r env=my_mod:Line-v0 trainer.total_steps=1e4")
    assert answer.code == 130
    assert status_of(here / "r") == "interrupted"


def test_a_job_that_dies_after_its_result_has_one(
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here while it closes its environment, before the sweep has heard of the result."""
    (here / "dying.py").write_text(
        "import gymnasium as gym, os, pathlib\nfrom my_mod import Line\n"
        "class Dying(Line):\n    def close(self):\n"
        "        if list(pathlib.Path(os.environ['SWEEP']).rglob('summary.json')):\n"
        "            os.kill(os.getpid(), 9)\n"
        "gym.register('Dying-v0', Dying)\n"
    )
    words = f"algo=ppo env=dying:Dying-v0 network.hidden=[4] {QUICK}"
    monkeypatch.setenv("SWEEP", str(here / "s"))
    answer = pgrun(f"-m {words} seed=0 hydra.sweep.dir=s")
    assert (answer.code, "did not finish" in answer.err) == (0, False), answer.err
    (folder,) = (path for path in (here / "s").iterdir() if path.is_dir() and path.name != ".hydra")
    assert status_of(folder) == "finished"
