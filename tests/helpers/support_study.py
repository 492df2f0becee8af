"""Studies in this process, as the command line would have them."""

from __future__ import annotations

import shlex
from typing import Any

import torch

from pgrun.command.compose import compose_jobs
from pgrun.command.overrides import read_command
from pgrun.tools.study import cli
from pgrun.tools.study.check import find_study_problems
from pgrun.tools.study.cli import STUDY
from pgrun.tools.study.study import run_study
from tests.helpers.support_cli import Answer, answer


def settings_of(line: str) -> dict[str, Any]:
    jobs = compose_jobs(read_command(shlex.split(line), STUDY))
    assert not jobs.problems, jobs.problems
    assert find_study_problems(jobs.composed[0]) == []
    return jobs.composed[0].settings


def study(line: str) -> dict[str, Any]:
    """The content of study.json; automatic differentiation is left as it was."""
    grad = torch.is_grad_enabled()
    try:
        return run_study(settings_of(f"repeats=1 {line}"))
    finally:
        torch.set_grad_enabled(grad)


def pgrun_study(line: str) -> Answer:
    """The command in this process."""
    return answer(cli.main, "pgrun-study", *shlex.split(line))
