"""Colours and lines as wide as the terminal: on a terminal, and nowhere else."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout

import pytest

from pgrun.terminal.printing import Tone, say, text_width, wrap_line

LONG = "pgrun: " + "word " * 40 + "the/path/of/a/folder/that/is/longer/than/the/terminal/itself/0123456789"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "COLUMNS": "60"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(text: str, error: bool = False, tone: Tone | None = None) -> str:
    """What a terminal gets."""
    terminal = Terminal()
    with redirect_stdout(terminal), redirect_stderr(terminal):
        say(text, error, tone)
    return terminal.getvalue()


def test_a_pipe_gets_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say(LONG, error=True, tone=Tone.ERROR)
    assert capsys.readouterr().err == f"{LONG}\n"


def test_errors_are_red_and_warnings_yellow() -> None:
    assert shown("pgrun: it failed", True, Tone.ERROR) == "\x1b[1;31mpgrun: \x1b[0mit failed\n"
    assert shown("pgrun: look: there", True) == "\x1b[33mpgrun: \x1b[0mlook: there\n"
    assert shown("pgrun-play: newest", True, Tone.PLAIN) == "pgrun-play: newest\n"


def test_warnings_in_a_table_are_yellow() -> None:
    assert shown("a  b\nwarning: few seeds") == "a  b\n\x1b[33mwarning: \x1b[0mfew seeds\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_without_colour(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert shown("pgrun: no", True, Tone.ERROR) == "pgrun: no\n"


def test_a_file_paints_nothing() -> None:
    """What a terminal would obey is shown, also where colours are."""
    assert COLOUR.sub("", shown("pgrun: \x1b[2Jx", True)) == "pgrun: \\x1b[2Jx\n"


def test_lines_are_as_wide_as_the_terminal() -> None:
    lines = COLOUR.sub("", shown(f"{LONG}\n  - short", True)).splitlines()
    assert lines[-1] == "  - short"
    assert all(len(line) <= 60 or " " not in line.strip() for line in lines), "words stay whole"
    assert {line[:2] for line in lines[1:]} == {"  "}
    assert " ".join(line.strip() for line in lines[:-1]) == LONG
    assert (text_width(Terminal()), text_width(io.StringIO())) == (60, 110)


def test_an_indented_line_stays_so() -> None:
    assert wrap_line("  - " + "ab " * 20, 30).splitlines()[:2] == [
        "  - ab ab ab ab ab ab ab ab ab",
        "    ab ab ab ab ab ab ab ab ab",
    ]


def test_tables_and_commands_are_not_wrapped() -> None:
    row = "  ".join(["column"] * 20)
    assert shown(row) == f"{row}\n"
    command = "  pgrun-study " + "env.kwargs.theta=0.5 " * 9
    assert shown(command) == f"{command}\n"


def test_the_last_column_of_a_list_goes_on_below_itself() -> None:
    claim = "what is said of it,  " + "word " * 20
    first, *others = shown(f"  no_model    5 s  {claim}".rstrip()).splitlines()
    assert first.startswith("  no_model    5 s  what is said of it,  word")
    assert {line[:19] for line in others} == {" " * 19}
    assert {line[19] for line in others} == {"w"}
    assert all(len(line) <= 60 for line in (first, *others))
    prose = shown("word " * 40).splitlines()
    assert all(len(line) <= 60 for line in prose)
