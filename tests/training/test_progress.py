"""How far a run is, and how fast: of a run that goes on, since it goes on."""

from __future__ import annotations

import io
import re
import time

import pytest

from pgrun.training.progress import LINES, Progress

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
