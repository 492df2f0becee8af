"""How a command ends: its exit code, and what goes wrong said in one paragraph."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum

from pgrun.config.own_code import find_own_fault
from pgrun.errors import (
    InvalidCommand,
    OwnCodeFault,
    UserFacingError,
    describe_lack_of_memory,
    shorten_paragraph,
)
from pgrun.terminal import lazy_torch
from pgrun.terminal.interrupts import NOTE, noting_interrupts
from pgrun.terminal.printing import Tone, say
from pgrun.terminal.streams import outlasting_readers

NO_WINDOWS = (
    "Windows is not supported: runs are locked, stopped and saved by means of Linux and macOS; install WSL "
    "(wsl --install) and type the same there"
)


class ExitCode(IntEnum):
    """What the shell is told. A signal's own is 128 and its number, unless batch systems have a word."""

    DONE = 0
    FAILED = 1  # something went wrong in the run, or in one of a sweep's
    MISTAKEN = 2  # the command is wrong: nothing was done; or the user's own method is
    REQUEUE = 75  # EX_TEMPFAIL: saved by SIGUSR1, to be queued again
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


def run_guarded(work: Callable[[], int], name: str) -> int:
    """The exit code of a command; what goes wrong in it is said in one paragraph."""
    if sys.platform == "win32":  # before anything is imported that Windows lacks: fcntl, resource, SIGHUP
        say(f"{name}: {NO_WINDOWS}", error=True, tone=Tone.ERROR)
        return ExitCode.MISTAKEN
    lazy_torch.load_torch_lazily()
    logging.raiseExceptions = False  # of a disk that takes no log: the terminal has the same line
    with outlasting_readers(), noting_interrupts():
        return exit_code(work, name)


def exit_code(work: Callable[[], int], name: str) -> int:
    try:
        code = name_own_faults(work)
        sys.stdout.flush()
        return code
    except UserFacingError as error:
        if os.environ.get("PGRUN_DEBUG"):
            traceback.print_exc()
        say(f"{name}: {error}", error=True, tone=Tone.ERROR)
        return ExitCode.MISTAKEN if isinstance(error, InvalidCommand | OwnCodeFault) else ExitCode.FAILED
    except KeyboardInterrupt as stop:
        hint = getattr(stop, "hint", "")
        say(f"{name}: interrupted{hint and ': '}{hint}", error=True)
        return getattr(stop, "code", ExitCode.INTERRUPTED)
    except (MemoryError, RuntimeError) as error:  # before a run has begun, or in a command that reads runs
        if (lack := describe_lack_of_memory(error)) is None:
            raise
        say(f"{name}: {shorten_paragraph(lack)}", error=True, tone=Tone.ERROR)
        return ExitCode.FAILED
    except (OSError, ValueError) as error:  # a disk that is full, read-only or failing
        fault = error.__cause__ if isinstance(error, ValueError) else error  # logging wraps it
        if not isinstance(fault, OSError):
            raise
        if os.environ.get("PGRUN_DEBUG"):
            traceback.print_exc()
        if is_folder_gone():
            say(f"{name}: {make_gone_folder_error()}", error=True, tone=Tone.ERROR)
            return ExitCode.MISTAKEN
        told = [str(x) for x in (fault.filename, fault.strerror) if x]
        say(f"{name}: {shorten_paragraph(': '.join(told) or str(fault))}", error=True, tone=Tone.ERROR)
        return (
            ExitCode.MISTAKEN if fault.errno == errno.ENAMETOOLONG else ExitCode.FAILED
        )  # no disk's fault: it was typed so


def name_own_faults(work: Callable[[], int]) -> int:
    """What ``work`` returns; what came out of a module of the user's is raised in one sentence."""
    try:
        return work()
    except (Exception, SystemExit) as error:
        if NOTE.came:  # what a library made of it
            raise KeyboardInterrupt from error
        if (fault := find_own_fault(error)) is None:
            raise
        raise fault from error


def is_folder_gone() -> bool:
    """Whether the current folder was deleted: every relative name leads to nothing then."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def make_gone_folder_error() -> InvalidCommand:
    """By its name where the shell has one that nothing has: Python's ``os.chdir`` leaves the shell's."""
    here = os.environ.get("PWD", "")
    shown = here if here and not os.path.lexists(here) else "the current folder"
    return InvalidCommand(f"{shown} no longer exists", None, "cd to a folder that does")


def refuse_gone_folder(name: str = "") -> None:
    """Where ``name`` is relative to a current folder that was deleted. Raises ``InvalidCommand``."""
    if not os.path.isabs(os.path.expanduser(name)) and is_folder_gone():
        raise make_gone_folder_error()
