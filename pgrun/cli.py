"""The command ``pgrun``: check everything, then let Hydra run it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pgrun import __version__
from pgrun.errors import Refused


def main() -> None:
    """Exit codes: 0 done, 1 a job failed, 2 the command is mistaken, 130 interrupted."""
    argv = [re.sub(r"^env\.id=", "env=", word) for word in sys.argv[1:]]
    try:
        run(argv)
    except Refused as error:
        if os.environ.get("PGRUN_DEBUG"):
            raise
        print(f"pgrun: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pgrun: interrupted", file=sys.stderr)
        sys.exit(130)


def run(argv: list[str]) -> None:
    if argv == ["--version"]:
        return print(f"pgrun {__version__}")
    if argv == ["--list"]:
        from pgrun.listing import show

        return show()
    from pgrun.compose import jobs, parse

    args = parse(argv)
    if args.cfg or args.info or args.help or args.hydra_help or args.shell_completion:
        return hydra_main(argv)
    pin_threads(argv)
    from pgrun.check import problems, run_directory

    found: dict[str, None] = {}  # each once, in order
    probed: dict[str, list[str]] = {}
    for job in jobs(args):
        found |= dict.fromkeys(problems(job))
    ...


def pin_threads(argv: list[str]) -> None:
    """NumPy's BLAS reads these when it is loaded; torch is set in ``build``."""
    threads = next((word[8:] for word in argv if word.startswith("threads=")), "1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)


def hydra_main(argv: list[str]) -> None:
    ...
