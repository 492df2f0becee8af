"""The parser of Hydra's own flags."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager

from hydra._internal.utils import get_args_parser


def build_flag_parser() -> ArgumentParser:
    """The parser of Hydra's own flags, ``--cfg`` and the like."""
    with accepting_lazy_help():
        return get_args_parser()


@contextmanager
def accepting_lazy_help() -> Iterator[None]:
    """Let Hydra build its parser under Python 3.14, whose argparse looks at each help text as it is added.

    Hydra 1.3 gives one that is no string yet, an object that shows itself as one when it is printed; argparse
    calls that badly formed. Strings are looked at as ever, and before 3.14 there is nothing to do.
    """
    container = argparse._ActionsContainer
    check = getattr(container, "_check_help", None)
    if check is None:
        yield
        return

    def check_strings(self: argparse._ActionsContainer, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(self, action)

    container._check_help = check_strings  # type: ignore[attr-defined]
    try:
        yield
    finally:
        container._check_help = check  # type: ignore[attr-defined]
