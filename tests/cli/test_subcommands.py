"""``pgrun play DIR`` is ``pgrun-play DIR``, and so are all commands."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pgrun import __version__
from pgrun.cli.subcommands import COMMANDS
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import pgrun


def test_they_are_the_console_scripts() -> None:
    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    assert {
        "pgrun": "pgrun.cli.main:main",
        **{f"pgrun-{name}": at for name, at in COMMANDS.items()},
    } == scripts


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"study"}))
def test_each_finds_its_words(name: str, here: Path) -> None:  # noqa: F811
    assert pgrun(f"{name} --version").out == f"pgrun-{name} {__version__}\n"
    told = pgrun(f"{name} --no-such-option")
    assert (told.code, told.err.startswith(f"pgrun-{name}: ")) == (2, True), told


def test_a_study_is_one_too(here: Path) -> None:  # noqa: F811
    assert pgrun("study --version").out == f"pgrun-study {__version__}\n"


def test_version_and_help(here: Path) -> None:  # noqa: F811
    assert pgrun("version").out == f"pgrun {__version__}\n"
    assert pgrun("help").out == pgrun("--help").out
