"""The command ``pgrun-doctor``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pgrun.config.pages import page_address
from pgrun.errors import InvalidCommand
from pgrun.storage.newest_run import LAST, replace_last
from pgrun.terminal.exit_codes import ExitCode, run_guarded
from pgrun.terminal.libraries import pin_libraries
from pgrun.terminal.options import Options
from pgrun.terminal.printing import say

NAME = "pgrun-doctor"
ABOUT = (
    "Look for known illnesses in what a run has left behind: what is wrong, what to try, where it is "
    "explained."
)
EXAMPLES = f"""\
examples
  pgrun-doctor                                 the newest run or sweep below outputs/, as pgrun-doctor last
  pgrun-doctor outputs/2026-01-31/ppo_CartPole-v1_s0_12-00-00
  pgrun-doctor outputs/multirun/2026-01-31/CartPole-v1_algo+seed_12-00-00     every run of a sweep
{page_address("my-run-does-not-learn.md")} tells each illness, and what a healthy run looks like."""


def build_doctor_parser() -> Options:
    options = Options(NAME, ABOUT, EXAMPLES)
    options.add_argument(
        "runs",
        metavar="RUN_DIR",
        nargs="*",
        default=[LAST],
        help="runs, sweeps, folders of them or globs, finished or damaged (default: last, the newest)",
    )
    return options


def main() -> None:
    """The console script."""
    sys.exit(run_guarded(lambda: run_doctor(sys.argv[1:]), NAME))


def run_doctor(argv: Sequence[str]) -> int:
    """0 whether something was found or not."""
    names = [
        replace_last(name, NAME, one=False) for name in build_doctor_parser().parse_args(list(argv)).runs
    ]
    pin_libraries([])
    from pgrun.analysis.compare.read_runs import Found, expand_glob, find_run_folders
    from pgrun.analysis.doctor.report import diagnose_run
    from pgrun.analysis.doctor.run_data import read_chart

    charts = []
    for name in names:
        folders = dict.fromkeys(run for top in expand_glob(name) for run in find_run_folders(top, Found()))
        if not folders:
            raise InvalidCommand(
                name,
                None,
                "holds no run",
                "name a directory with a metrics.csv, such as outputs/<date>/<run>",
            )
        charts += [read_chart(folder) for folder in folders]
    say("\n\n".join(map(diagnose_run, charts)))
    return ExitCode.DONE


if __name__ == "__main__":  # python -m
    main()
