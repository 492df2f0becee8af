"""Schemes and algorithms of the user's own that are written or named wrong: what a command says of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgrun.config import user_modules
from tests.helpers.fixtures_cli import here  # noqa: F401
from tests.helpers.support_cli import QUICK, Answer, pgrun

HEAD = """
from dataclasses import dataclass, field
from typing import Any, ClassVar
import numpy as np
import torch
from pgrun.variance.base import Scheme, returns_to_go
"""
SCHEME = HEAD + (
    "@dataclass(frozen=True)\n"
    "class Odd(Scheme):\n"
    "    {fields}\n"
    "    whole_episodes: ClassVar[bool] = True\n"
    "    def psi(self, rollout, value, gamma):\n"
    "        {psi}\n"
)
RIGHT = "return returns_to_go(rollout, value, gamma)"
WORDS = f"--config-dir conf modules=[odd] algo=reinforce variance=odd {QUICK} hydra.run.dir=r"

Write = Callable[..., None]


def write_scheme(text: str, options: str = "name: odd\n") -> None:
    """``odd.py`` and ``conf/variance/odd.yaml`` in the current folder."""
    Path("odd.py").write_text(text)
    place = Path("conf/variance/odd.yaml")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(options)


@pytest.fixture
def own(here: Path) -> Iterator[Path]:  # noqa: F811
    """The current folder, whose modules are forgotten afterwards."""
    yield here
    for name in ("odd", "mean"):
        sys.modules.pop(name, None)
        user_modules.IMPORTED.pop(name, None)


def refused(answer: Answer, folder: Path) -> str:
    """What a command said that is refused in one paragraph, before there is a run directory."""
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1), answer
    assert not (folder / "r").exists()
    return answer.err


def test_another_tool_s_word_beside_a_scheme_of_one_s_own(own: Path) -> None:
    write_scheme(SCHEME.format(fields="pass", psi=RIGHT))
    assert "type optimizer.lr=0.1" in refused(pgrun(f"{WORDS} lr=0.1"), own)


def test_another_tool_s_word_beside_a_module_that_cannot_be_imported(own: Path) -> None:
    write_scheme("1 / 0\n")
    answer = pgrun(f"{WORDS} lr=0.1")
    assert answer.code == 2
    assert "type optimizer.lr=0.1" in answer.err
