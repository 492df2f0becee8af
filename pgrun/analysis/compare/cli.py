"""The command ``pgrun-compare``. Imports nothing heavy until there is something to read."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pgrun.analysis.compare.usual_scalars import SCALARS
from pgrun.atomic_files import LEADS_OUT, leads_out
from pgrun.config.pages import page_address
from pgrun.errors import InvalidCommand
from pgrun.storage.newest_run import LAST, replace_last
from pgrun.terminal.exit_codes import run_guarded
from pgrun.terminal.options import Options, integer_at_least
from pgrun.terminal.writable import refuse_unwritable_file, refuse_unwritable_folder

PICTURES, EXPORTS = (".png", ".svg", ".pdf"), (".csv", ".npz")
MOST_CURVES = 12  # where --top does not say

NAME = "pgrun-compare"
ABOUT = """\
Compare runs over seeds: groups of one configuration, what differs between them, intervals, \
learning curves."""
EXAMPLES = f"""\
examples
  pgrun-compare                                the newest sweep or run below outputs/, as pgrun-compare last
  pgrun-compare outputs/multirun/2026-01-31/CartPole-v1_algo+seed_12-00-00
  pgrun-compare outputs --baseline algo=a2c --threshold 475
  pgrun-compare sweep 'more/seed-*' --html compare.html --scalars return/eval kl/old_new gradient/variance
{page_address("compare.md")} says what each column means and how curves are put on one grid."""


def build_compare_parser() -> Options:
    p = Options(NAME, ABOUT, EXAMPLES)
    add_choices_of_runs(p)
    add_outputs(p)
    return p


def add_choices_of_runs(p: Options) -> None:
    """Which runs are compared, in which groups, by which score."""
    p.add_argument(
        "dirs",
        metavar="DIR",
        nargs="*",
        default=[LAST],
        help="runs, sweeps, folders of them, or globs in quotes (default: last, the newest)",
    )
    p.add_argument(
        "--by",
        nargs="+",
        action="extend",
        metavar="KEY",
        default=[],
        help="group by these settings alone: --by algo",
    )
    p.add_argument(
        "--baseline",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        default=[],
        help="P(improvement) over this group",
    )
    p.add_argument(
        "--threshold", type=finite, metavar="RETURN", help="steps and seconds to this evaluation return"
    )
    p.add_argument(
        "--at",
        type=integer_at_least(1),
        metavar="STEPS",
        help="score: last evaluation up to STEPS, not the final one",
    )
    p.add_argument(
        "--range",
        nargs="+",
        action="extend",
        metavar="ENV=LOW:HIGH",
        default=[],
        help="normalise scores of groups over several environments",
    )


def add_outputs(p: Options) -> None:
    """What is drawn and written beside the table."""
    p.add_argument(
        "--html", type=Path, metavar="FILE", help="table and curves as one page that needs no network"
    )
    p.add_argument("--picture", type=Path, metavar="FILE", help="curves as .png, .svg or .pdf")
    p.add_argument(
        "--scalars",
        nargs="+",
        action="extend",
        metavar="TAG",
        help=f"side by side (usual: {' '.join(SCALARS)})",
    )
    p.add_argument("--curve", choices=("mean", "iqm"), help="middle of a curve (usual: mean)")
    p.add_argument(
        "--top",
        type=integer_at_least(1),
        metavar="N",
        help=f"curves of the N best groups (usual: {MOST_CURVES})",
    )
    p.add_argument(
        "--export", type=Path, metavar="FILE", help="the score matrix as .csv or .npz (with the curves)"
    )
    p.add_argument("--tensorboard", type=Path, metavar="DIR", help="the curves as TensorBoard runs in DIR")


def finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: must be a finite number")
    return value


def main() -> None:
    """The console script."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    sys.exit(run_guarded(lambda: run_compare(sys.argv[1:]), NAME))


def run_compare(argv: Sequence[str]) -> int:
    options = build_compare_parser().parse_args(list(argv))
    options.dirs = [replace_last(name, NAME, one=False) for name in options.dirs]
    check_compare_options(options)
    from pgrun.analysis.compare.run_comparison import run_comparison

    return run_comparison(options)


def check_compare_options(options: argparse.Namespace) -> None:
    """What can be refused before anything is read."""
    for option, endings in (("picture", PICTURES), ("export", EXPORTS), ("html", (".html", ".htm"))):
        path = getattr(options, option)
        if path is None:
            continue
        if path.suffix not in endings:
            raise InvalidCommand(f"--{option}", path, f"the name must end in {' or '.join(endings)}")
        if leads_out(path):
            raise InvalidCommand(f"--{option}", path, f"is {LEADS_OUT}", "remove it, or name another file")
        refuse_unwritable_file(f"--{option}", path)
    refuse_undrawn_curves(options)
    options.curve, options.top = options.curve or "mean", options.top or MOST_CURVES
    if options.tensorboard:
        refuse_unwritable_folder("--tensorboard", options.tensorboard)
        from pgrun.analysis.compare.export import check_tensorboard

        check_tensorboard(options.tensorboard)


def refuse_undrawn_curves(options: argparse.Namespace) -> None:
    """What says how curves are drawn, where none are."""
    exported = options.scalars and options.export and options.export.suffix == ".npz"
    if options.html or options.picture or options.tensorboard or exported:
        return
    for option in ("scalars", "curve", "top"):
        if (given := getattr(options, option)) is not None:
            word = " ".join(given) if option == "scalars" else given
            raise InvalidCommand(
                f"--{option}",
                word,
                "no curves are drawn",
                "add --html FILE or --picture FILE, or leave it out",
            )


if __name__ == "__main__":  # python -m
    main()
