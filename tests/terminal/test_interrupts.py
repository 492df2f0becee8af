"""Ctrl-C before a run notes signals: one line and 130, also where a library swallows or changes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgrun.runs import build_or_restore
from pgrun.terminal.exit_codes import run_guarded
from pgrun.terminal.interrupts import NOTE, holding_interrupts, noting_interrupts, raise_if_interrupted
from pgrun.tools.study.progress import EpisodeProgress
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, pgrun


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    NOTE.came = False
    signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Swallows:
    """Python ignores what is raised in here."""

    def __del__(self) -> None:
        press_ctrl_c()


def end_as_another_error() -> int:
    try:
        press_ctrl_c()
    except KeyboardInterrupt as error:
        raise ImportError("cannot import name x") from error
    return 0


def end_as_it_is() -> int:
    press_ctrl_c()
    return 0


def swallow_and_go_on() -> int:
    Swallows()
    EpisodeProgress(lambda line: None, 10, "episodes").add(1)
    return 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("work", [end_as_it_is, end_as_another_error, swallow_and_go_on])
def test_one_line_and_130(work: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_guarded(work, "pgrun-study") == 130
    assert capsys.readouterr().err == "pgrun-study: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def start_library(done: list[str]) -> None:
    with holding_interrupts():
        press_ctrl_c()
        done.append("all of it")


def test_while_a_library_starts_it_waits() -> None:
    done: list[str] = []
    with noting_interrupts():
        with pytest.raises(KeyboardInterrupt):
            start_library(done)
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
    assert done
    with noting_interrupts():
        raise_if_interrupted()  # that was of another command


def test_handlers_of_others_stay() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with noting_interrupts():
        press_ctrl_c()
        raise_if_interrupted()
    assert seen == [signal.SIGINT]


def test_while_a_run_is_built_it_is_noted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Building may compile for half a minute: the run is saved after its first update."""
    real = build_or_restore.build_or_restore

    def build(*given: object) -> object:
        press_ctrl_c()
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(build_or_restore, "build_or_restore", build)
    longer = QUICK.replace("=200", "=4000")
    answer = pgrun(f"algo=ppo env=my_mod:Line-v0 network.hidden=[4] {longer} hydra.run.dir=r")
    assert answer.code == 130
    assert "interrupted: saved at step " in answer.err
    monkeypatch.setattr(build_or_restore, "build_or_restore", real)
    assert pgrun("resume=r env=my_mod:Line-v0").code == 0
