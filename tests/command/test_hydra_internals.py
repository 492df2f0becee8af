"""Work-arounds for Hydra, each against what it works around."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser

from pgrun.command.hydra_internals.flags import accepting_lazy_help, build_flag_parser


@pytest.fixture
def argparse_of_314(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python 3.14's ``add_argument`` does beside what it did before: it looks at the help text."""
    add = argparse._ActionsContainer.add_argument

    def check_help(self: argparse._ActionsContainer, action: argparse.Action) -> None:
        try:
            if action.help and "%" in action.help:
                action.help % vars(action)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError("badly formed help string") from error

    def add_argument(self: argparse._ActionsContainer, *names: Any, **settings: Any) -> argparse.Action:
        action = add(self, *names, **settings)
        self._check_help(action)  # type: ignore[attr-defined]
        return action

    monkeypatch.setattr(argparse._ActionsContainer, "_check_help", check_help, raising=False)
    monkeypatch.setattr(argparse._ActionsContainer, "add_argument", add_argument)


def test_the_parser_of_flags_is_built_under_python_314(argparse_of_314: None) -> None:
    with pytest.raises(ValueError, match="badly formed help string"):
        get_args_parser()
    flags = build_flag_parser().parse_args(["-m", "algo=ppo"])
    assert (flags.multirun, flags.overrides) == (True, ["algo=ppo"])


def test_a_badly_formed_help_string_is_still_one(argparse_of_314: None) -> None:
    with accepting_lazy_help(), pytest.raises(ValueError, match="badly formed"):
        argparse.ArgumentParser().add_argument("--share", help="100 % of it")
    with pytest.raises(ValueError, match="badly formed"):
        argparse.ArgumentParser().add_argument("--share", help="100 % of it")
