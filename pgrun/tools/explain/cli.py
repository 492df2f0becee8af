"""The command ``pgrun-explain``: read, composed and refused as ``pgrun`` is, and then told instead of run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgrun.cli import main as cli
from pgrun.command.app import PGRUN, Entry
from pgrun.terminal.exit_codes import ExitCode
from pgrun.terminal.printing import say

if TYPE_CHECKING:
    from pgrun.command.compose import Job

EXPLAIN = replace(
    PGRUN,
    name="pgrun-explain",
    help=Entry("pgrun.tools.explain.cli:format_explain_help"),
    instead=Entry("pgrun.tools.explain.cli:explain_jobs"),
)
SHOWN = 12  # jobs of a sweep that are listed
HELP = """\
pgrun-explain — what a pgrun command would do, in plain words, without running it

  pgrun-explain algo=ppo env=CartPole-v1
  pgrun-explain algo=reinforce variance=leave_one_out env=FrozenLake-v1 gamma=1
  pgrun-explain -m algo=a2c variance=gae,td0 seed=0,1,2        the first job, and what varies

The words are those of pgrun; pgrun --help lists them. Formulas and papers come from the code that \
would run."""


def main() -> None:
    """The console script."""
    cli.main(EXPLAIN)


def format_explain_help(places: list[Path]) -> str:
    return HELP


def explain_jobs(jobs: list[Job]) -> int:
    """The first job in full, and what the others change."""
    from pgrun.tools.explain.page import format_job_page

    if len(jobs) > 1:
        say("\n".join(describe_varied_words(jobs)) + "\n")
    say(format_job_page(jobs[0]))
    return ExitCode.DONE


def describe_varied_words(jobs: list[Job]) -> Iterator[str]:
    everywhere = set.intersection(*({word.text for word in job.words} for job in jobs))
    varied = [" ".join(word.shown for word in job.words if word.text not in everywhere) for job in jobs]
    yield f"A sweep of {len(jobs)} jobs. What follows is the first of them; they differ in"
    yield from (f"  {text}" for text in varied[:SHOWN])
    if len(jobs) > SHOWN:
        yield f"  … and {len(jobs) - SHOWN} more"


if __name__ == "__main__":  # python -m
    main()
