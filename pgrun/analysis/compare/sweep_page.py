"""What a sweep leaves behind by itself: compare.html beside its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgrun.analysis.compare.curves import make_panels
from pgrun.analysis.compare.groups import group_runs
from pgrun.analysis.compare.read_runs import read_runs
from pgrun.analysis.compare.report import compare_groups
from pgrun.analysis.compare.run_comparison import write_page
from pgrun.analysis.compare.statistics import mean
from pgrun.analysis.compare.usual_scalars import SCALARS

TOP = 12  # groups that have curves


def write_comparison_page(folder: Path, jobs: Sequence[Path]) -> Path | None:
    """Written from the jobs' own files, as ``pgrun-compare`` reads them; None where no run can be read."""
    sweep = read_runs([str(job) for job in jobs if job.is_dir()], SCALARS)
    if not sweep.runs:
        return None
    comparison = compare_groups(group_runs(sweep.runs), {}, None)
    drawn = comparison.best(TOP)
    path = folder / "compare.html"
    write_page(path, comparison, make_panels(drawn, SCALARS, mean), drawn, sweep.notes, "mean")
    return path
