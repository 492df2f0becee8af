"""``pgrun`` and ``pgrun-study`` as functions: the same words, the same path, a record
instead of an exit code.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import shlex
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgrun.api.process import borrowed_process
from pgrun.api.records import OwnCode, RunResult, StudyResult, load, read_study
from pgrun.api.words import build_command
from pgrun.cli import main as cli
from pgrun.command.app import PGRUN, App
from pgrun.errors import InvalidCommand
from pgrun.runs.resume_several import complete_resume
from pgrun.terminal.exit_codes import refuse_gone_folder

PRINTING = ("--help", "-h", "--version", "--list")
Place = str | os.PathLike[str]


def train(
    *words: str | Iterable[str],
    folder: Place | None = None,
    config_dir: Place | None = None,
    quiet: bool = False,
    **settings: Any,
) -> RunResult:
    """Train as the command ``pgrun`` does, to the same parameters, bit for bit:
    ``train("algo=ppo env=CartPole-v1", seed=3)``.

    words: as they are typed in a terminal, in one text, several, or a list. settings: more of them by name;
    one that is no Python name goes ``**{"optimizer.lr": 1e-3}``. folder: for the run, otherwise
    outputs/<date>/<run>. config_dir: of your own options. quiet: print nothing.
    Raises ``InvalidCommand`` with what the command would say, before anything is written,
    ``EnvironmentFault`` and ``Diverged``.
    """
    argv = build_command(words, settings, folder, config_dir)
    run = load(run_command(argv, PGRUN, quiet))
    named = OwnCode(run.settings["env"]["id"], tuple(run.settings["modules"]))  # by this very command
    return replace(run, own_code=named)


def study(
    *words: str | Iterable[str],
    folder: Place | None = None,
    config_dir: Place | None = None,
    quiet: bool = False,
    **settings: Any,
) -> StudyResult:
    """Compare gradient estimators on one frozen policy as ``pgrun-study`` does:
    ``study("env=pgrun/OneState-v0 episodes=2000")``.

    The arguments are those of ``train``.
    """
    from pgrun.tools.study.cli import STUDY

    argv = build_command(words, settings, folder, config_dir)
    return read_study(run_command(argv, STUDY, quiet))


def run_command(argv: list[str], app: App, quiet: bool) -> Path:
    """The folder of the run that a command makes or goes on with. Raises ``InvalidCommand``."""
    leave_reimported_script()
    refuse_gone_folder()
    with ExitStack() as stack:
        stack.enter_context(borrowed_process(argv))
        if quiet:
            for redirect in (redirect_stdout, redirect_stderr):
                stack.enter_context(redirect(io.StringIO()))
        argv = complete_resume(argv, app)
        refuse_what_is_no_run(argv, app)
        outcome = cli.carry_out(argv, app)
    assert outcome.folder is not None
    return outcome.folder


def leave_reimported_script() -> None:
    """End this process where it only begins, and imports the user's script for that: the run that the script
    trains goes on in another, which says so.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        from pgrun.envs.parallel import REIMPORTED

        raise SystemExit(REIMPORTED)


def refuse_what_is_no_run(argv: Sequence[str], app: App) -> None:
    """Commands that print, and those that are several runs: a record is of one."""
    from pgrun.command.overrides import read_command

    typed = f"{app.name} {shlex.join(argv)}"
    printing = [word for word in argv if word in PRINTING]
    command = None if printing else read_command(list(argv), app)
    if command is None or command.shows or command.flags.help:
        raise InvalidCommand(typed, None, "prints something and runs nothing", "type it in a terminal")
    several = any(word.key == "seeds" and word.value is not None for word in command.words)
    if command.multirun or several:
        raise InvalidCommand(
            typed,
            None,
            "is several runs",
            "type it in a terminal and read its folder with pgrun.load_runs(folder), or train one "
            "after the other: [pgrun.train(…, seed=s) for s in (0, 1, 2)]",
        )
