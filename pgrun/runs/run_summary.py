"""What the terminal shows at the end of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgrun.terminal.printing import shorten_folder


def format_result(summary: Mapping[str, Any], folder: Path) -> str:
    """Final evaluation, cost, where to look, and what the doctor has found."""
    from pgrun.analysis.doctor.report import diagnose_finished_run

    result, shown = summary["eval"], shorten_folder(folder)
    anew = [f"{restart['env_steps']:,}" for restart in summary.get("restarts", [])]
    restarts = (
        f"  episodes    begun anew at step {', '.join(anew)}, where the run was resumed\n" if anew else ""
    )
    return (
        f"\n{summary['algo']} · {summary['variance']} · {summary['env']} · seed {summary['seed']}\n"
        f"  evaluation  {result['return_mean']:.1f} ± {result['return_std']:.1f} over {result['episodes']} "
        "episodes\n"
        f"  training    {summary['env_steps']:,} steps in {summary['wall_seconds']:.1f} s "
        f"({summary['env_steps_per_second']:,.0f} steps/s)\n"
        f"{restarts}  run         {shown}\n"
        f"  look at it  tensorboard --logdir {shlex.quote(shown)}{diagnose_finished_run(folder)}"
    )
