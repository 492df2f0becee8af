"""A signal ends a run after it was saved, and the last line says where, and what to type."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import pgrun.training.loop as training
from pgrun.command.overrides import hydra_word, shell_word
from pgrun.runs import workers
from pgrun.terminal.signals import CODES, SignalFlag, SweepStop, noting_signals
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun

FOLDER = "it's, r"
BRIEF = (
    "env=my_mod:Line-v0 env.num_envs=2 algo=a2c sampler.steps=8 network.hidden=[4] trainer.total_steps=64 "
    "trainer.eval_every=null trainer.eval_episodes=1 logger.progress=false"
)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As they were: a run that was stopped notes signals to the end of its process."""
    before = {number: signal.getsignal(number) for number in CODES}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("sweep", [False, True])
def test_a_signal_is_acknowledged_at_once_and_once(
    sweep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    flag = SweepStop(tmp_path) if sweep else SignalFlag()
    monkeypatch.setattr(os, "_exit", lambda code: None)
    monkeypatch.setattr(multiprocessing, "active_children", list)
    with noting_signals(flag):
        os.kill(os.getpid(), signal.SIGINT)
        first = capfd.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)
    assert first.startswith("\npgrun: SIGINT: stopping: ")
    assert ("jobs under way" in first, "once more ends" in first) == (sweep, True)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # of pgrun.train(…, quiet=True)
    SignalFlag()(signal.SIGTERM, None)
    assert capfd.readouterr().err == ""


def signalled(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes in the second update from now on, and once."""
    left, real = iter([None]), training.update_from_rollout

    def update(*given):
        if next(left, number) == number:
            os.kill(os.getpid(), number)
            monkeypatch.setattr(training, "update_from_rollout", real)
        return real(*given)

    monkeypatch.setattr(training, "update_from_rollout", update)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)],
)
def test_a_run_is_saved_and_says_how_to_go_on(
    number: int,
    code: int,
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signalled(number, monkeypatch)
    answer = pgrun(f"{BRIEF} {shell_word('hydra.run.dir', FOLDER)}")
    assert answer.code == code
    # two updates of 16 rows, two of which only reset
    told, _, command = answer.err.rpartition("; to go on: pgrun ")
    assert told == f"pgrun: interrupted: saved at step 30 in {FOLDER}"
    words = shlex.split(command)
    assert words[1:] == ["env=my_mod:Line-v0"], "code of the user's is named again"
    summary = json.loads((here / FOLDER / "summary.json").read_text())
    assert (summary["status"], summary["error"]) == (
        "interrupted",
        "stopped by Ctrl-C" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}",
    )
    assert pgrun(command.strip()).code == 0
    summary = json.loads((here / FOLDER / "summary.json").read_text())
    assert (summary["status"], summary["env_steps"] >= 64) == ("finished", True)


def test_of_several_seeds_the_same_command_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """One after the other, as in a process of the user's."""
    monkeypatch.setattr(workers, "is_borrowed", lambda: True)
    signalled(signal.SIGTERM, monkeypatch)
    line = f"{BRIEF} seeds=[0,1] hydra.run.dir=r"
    answer = pgrun(line)
    assert answer.code == 143
    hint = "saved in r; to go on: the same command with resume=auto hydra.run.dir=r"
    assert answer.err == f"pgrun: interrupted: {hint}\n"
    assert pgrun(f"{line} resume=auto").code == 0


def test_a_hangup_is_heeded_unless_nohup_ignores_it() -> None:
    with noting_signals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
    assert stop.number == signal.SIGHUP
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from pgrun.terminal.signals import "
        "CODES, noting_signals\n"
        "with noting_signals(): assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN\n"
        "assert signal.SIGHUP not in CODES"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "value", ["r", "a b", "x=y", "it's", 'a"b', "a\\", "a\\'b", "1e3", "null", "ä", "a,b", "[a"]
)
def test_a_word_that_is_shown_can_be_typed(value: str) -> None:
    (word,) = shlex.split(shell_word("resume", value))
    for text in (word, hydra_word("resume", value)):
        assert OverridesParser.create().parse_override(text).value() == value
