"""The command ``pgrun``: check every job first, then let Hydra run it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pgrun import __version__
from pgrun.errors import Refused


def main() -> None:
    """Exit codes: 0 done, 1 a job failed, 2 the command is mistaken, 130 interrupted."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.argv[1:] = [re.sub(r"^env\.id=", "env=", word) for word in sys.argv[1:]]
    try:
        sys.exit(run(sys.argv[1:]))
    except Refused as error:
        if os.environ.get("PGRUN_DEBUG"):
            raise
        print(f"pgrun: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pgrun: interrupted", file=sys.stderr)
        sys.exit(130)


def run(argv: list[str]) -> int:
    if argv == ["--version"]:
        print(f"pgrun {__version__}")
        return 0
    if argv == ["--list"]:
        from pgrun.listing import show

        show()
        return 0
    pin_threads(argv)
    from pgrun.compose import parse

    args = parse(argv)
    if args.cfg or args.info or args.help or args.hydra_help or args.shell_completion:
        call_hydra()
        return 0
    sweep_dir = refuse_problems(args)
    if sweep_dir is None:
        call_hydra()
        return 0
    from pgrun.sweep import report

    sys.argv.append(f"hydra.sweep.dir='{sweep_dir}'")  # ${now:} resolved once, so that the report finds it
    call_hydra()
    return report(sweep_dir)


def pin_threads(argv: list[str]) -> None:
    """NumPy's BLAS reads these when it is loaded; torch's own threads are set in ``build``."""
    threads = next((word[8:] for word in argv if word.startswith("threads=")), "1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = threads


def refuse_problems(args) -> Path | None:
    """Raise ``Refused`` with everything that is wrong with the command's jobs; the directory of a sweep, or None."""
    from pgrun.check import problems, run_directory
    from pgrun.compose import jobs

    found: dict[str, None] = {}  # each problem once, in order
    sweep_dir = None
    for job in jobs(args):
        found |= dict.fromkeys(problems(job))
        if args.multirun:
            sweep_dir = sweep_dir or Path(job.hydra.sweep.dir)
        else:
            found |= dict.fromkeys(run_directory(Path(job.hydra.run.dir)))
    if sweep_dir is not None:
        found |= dict.fromkeys(run_directory(sweep_dir))
    if found:
        raise Refused("\n".join(f"{'- ' * (len(found) > 1)}{problem}" for problem in found))
    return sweep_dir


def call_hydra() -> None:
    import hydra

    from pgrun.compose import conf_dir, register
    from pgrun.job import job

    register()
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
