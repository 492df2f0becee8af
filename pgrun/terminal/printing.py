"""What the terminal shows at the end of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgrun.config.paths import where_typed
from pgrun.errors import escape_line, escape_lines


def say(text: str, error: bool = False) -> None:
    """Printed, unless nobody reads any more (``pgrun … | head``): what is done stays done.

    Every text that may come from a file goes this way: a terminal obeys what is in it otherwise. ``error``: to stderr.
    """
    stream = sys.stderr if error else sys.stdout
    try:
        print(escape_lines(text), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def describe(summary: Mapping[str, Any], folder: Path) -> str:
    """Final evaluation, cost, where to look, and what the doctor has found."""
    from pgrun.analysis.doctor.report import after

    result, shown = summary["eval"], shortest(folder)
    anew = [f"{restart['env_steps']:,}" for restart in summary.get("restarts", [])]
    restarts = (
        f"  episodes    begun anew at step {', '.join(anew)}, where the run was resumed\n" if anew else ""
    )
    return (
        f"\n{summary['algo']} · {summary['variance']} · {summary['env']} · seed {summary['seed']}\n"
        f"  evaluation  {result['return_mean']:.1f} ± {result['return_std']:.1f} over {result['episodes']} episodes\n"
        f"  training    {summary['env_steps']:,} steps in {summary['wall_seconds']:.1f} s "
        f"({summary['env_steps_per_second']:,.0f} steps/s)\n"
        f"{restarts}"
        f"  run         {shown}\n"
        f"  look at it  tensorboard --logdir {shown}{after(folder)}"
    )


def shortest(folder: Path) -> str:
    """Relative to where the user stands, if it is below; to be shown, not opened."""
    here = where_typed()
    return escape_line(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
