"""Output that cannot be shown, or that nobody reads, costs no training."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from pgrun.cli import main as cli
from pgrun.terminal.exit_codes import ExitCode
from pgrun.terminal.streams import outlasting_readers, through_outlet
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK
from tests.helpers.support_fork import forked

RUN = (
    f"hydra.run.dir=r {QUICK.replace('progress=false', 'progress=true')} network.hidden=[4] env.num_envs=2 "
    "sampler.steps=8"
)


def run(words: str) -> int:
    return cli.run_guarded(lambda: cli.dispatch_command(words.split()), "pgrun")


def text_of(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(descriptor, "wb")))


def status(folder: Path) -> str:
    return json.loads((folder / "r" / "summary.json").read_text())["status"]


def test_what_the_encoding_has_not_is_replaced(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with (here / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert run(RUN) == ExitCode.DONE
        assert sys.stdout is out, "as it was"
    assert status(here) == "finished"
    shown = (here / "out").read_text(encoding="ascii")
    assert "ppo ? gae ? CartPole-v1 ? seed 0" in shown


def test_a_name_of_no_encoding_is_replaced(tmp_path: Path) -> None:
    """A folder's name may be any bytes; Python holds them as surrogates, which UTF-8 does not take."""
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        print(os.fsdecode(b"run-\xff"), "·", file=through_outlet(out), flush=True)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "run-? ·\n"


def test_a_reader_that_has_left_ends_no_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """``pgrun … 2>&1 | head -2``: its lines of progress go nowhere, and so does its summary."""
    reader, writer = os.pipe()
    os.close(reader)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, text_of(os.dup(writer)))
    os.close(writer)
    assert run(RUN) == ExitCode.DONE
    assert status(here) == "finished"
    assert run("gamma=2") == ExitCode.MISTAKEN


@pytest.mark.parametrize("descriptor", [1, 2])
def test_a_stream_that_is_not_there_ends_no_run(here: Path, descriptor: int) -> None:  # noqa: F811
    """``pgrun … >&-``; nor does a file of the run get its number, to which others may write."""

    def begin_without() -> int:
        setattr(sys, ("stdout", "stderr")[descriptor - 1], None)
        os.close(descriptor)
        assert run(RUN) == ExitCode.DONE
        assert os.fstat(descriptor).st_rdev == os.stat(os.devnull).st_rdev
        return run("gamma=2")

    assert forked(begin_without).code == ExitCode.MISTAKEN
    assert status(here) == "finished"


def test_a_terminal_that_is_gone_ends_no_run() -> None:
    """Writing to it is an input/output error from then on; any other error is told."""
    primary, terminal = os.openpty()
    before = text_of(terminal)
    stream = through_outlet(before)
    os.close(primary)
    for _ in range(2):
        print("step 1", file=stream, flush=True)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    full = text_of(os.open("/dev/full", os.O_WRONLY))
    monkeypatch.setattr(sys, "stdout", full)
    assert run("--version") == ExitCode.FAILED
    assert capsys.readouterr().err == "pgrun: No space left on device\n"


def test_streams_of_something_else_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    with outlasting_readers():
        assert sys.stdout is text
