"""How far a run is, and how fast: of a run that goes on, since it goes on."""

from __future__ import annotations

import io
import re
import time

import pytest

from pgrun.terminal.training_time import TRAINING_TIME
from pgrun.training.counters import Clock
from pgrun.training.progress import LINES, CompileProgress, Progress

DONE, TOTAL = 900_000, 1_000_000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, to be moved."""
    now = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_lines(seconds: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """10 000 steps in 10 s are 1000 steps/s, whatever was done before, and 90 000 are left."""
    progress = Progress(TOTAL, True, DONE)
    for env_steps in range(DONE + 1000, TOTAL + 1, 1000):
        seconds[0] += 1
        progress.update(env_steps, {"return/train": 5.0})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split() == ["910000", "steps", "1000", "steps/s", "return", "5.0", "90", "s", "left"]
    assert len(lines) == LINES
    assert {line.split()[2] for line in lines} == {"1000"}


def test_what_compiles_takes_no_time_of_the_run(
    seconds: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """100 steps a second beside 30 s of compiling: in the lines, the logged speed and the shares alike."""
    progress, clock, compiling = Progress(1000, True), Clock(), CompileProgress(shown=False)
    with clock.time("collecting"):
        begun = TRAINING_TIME.now()
        compiling.begin()
        seconds[0] += 30
        assert TRAINING_TIME.now() == begun  # asked while it compiles, too
        compiling.end()
        seconds[0] += 0.5
    with clock.time("learning"):
        seconds[0] += 0.5
    progress.update(100, {})
    assert capsys.readouterr().err.split()[:6] == ["100", "steps", "100", "steps/s", "9", "s"]
    assert clock.speed(100) == {"time/env_steps_per_second": 100, "time/learning_share": 0.5}


def test_what_compiles_takes_no_time_of_the_bar(
    seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    progress, compiling = Progress(1000, True), CompileProgress(shown=False)
    progress.bar._time = lambda: seconds[0]
    progress.bar.start_t = progress.bar.last_print_t = seconds[0]
    compiling.begin()
    seconds[0] += 30
    compiling.end()
    for env_steps in (100, 200):
        seconds[0] += 1
        progress.update(env_steps, {})
    shown = terminal.getvalue().split("\r")[-1]
    assert "200/1.00k" in shown
    assert "00:02<00:08, 100step/s" in shown
    progress.close()


def test_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins where the run goes on, and moves with every update: no first leap
    that all others are measured by.
    """
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    now = [1000.0]
    progress = Progress(TOTAL, True, DONE)
    progress.bar._time = lambda: now[0]
    progress.bar.start_t = progress.bar.last_print_t = now[0]
    for env_steps in range(DONE + 1000, DONE + 6000, 1000):
        now[0] += 1
        progress.update(env_steps, {})
    shown = terminal.getvalue().split("\r")
    assert "900k/1.00M" in shown[1]
    assert [re.search(r"(90\dk)/1.00M", text)[1] for text in shown[2:]] == [f"{n}k" for n in range(901, 906)]  # type: ignore[index]
    assert re.findall(r"1.00kstep/s", shown[-1]) == ["1.00kstep/s"]
    progress.close()
