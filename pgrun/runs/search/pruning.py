"""Trials that are stopped between two seeds, since better ones are known.

The rule is that of Optuna's ``MedianPruner`` for the running mean over seeds. The bars are set before trials
are started, and do not depend on which of several at once is the faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from pgrun.atomic_files import write_json
from pgrun.runs.job_status import read_json_object
from pgrun.runs.seeds import Run

FILE = ".bars.json"


def set_bars(sweep: Path, bars: Mapping[int, float]) -> None:
    write_json(sweep / FILE, {"bars": {str(count): bar for count, bar in bars.items()}})


def reason_to_prune(sweep: Path, runs: Sequence[Run]) -> str | None:
    """Why the seeds that are left are not worth their time, after those in ``runs``."""
    failed = [run for run in runs if run["status"] != "finished"]
    if failed:
        return f"seed {failed[0]['seed']} {failed[0]['status']}"
    bar = read_json_object(sweep / FILE).get("bars", {}).get(str(len(runs)))
    mean = statistics.fmean(run["return_mean"] for run in runs)
    if bar is None or mean >= bar:
        return None
    return (
        f"after {len(runs)} of its seeds its mean, {mean:.4g}, is below {bar:.4g}, the median of the trials "
        "before"
    )
