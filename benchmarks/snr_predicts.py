"""Does the gradient's signal-to-noise ratio at a tenth of a run predict its final return?

    python benchmarks/table.py             # the runs, if they are not there
    python benchmarks/snr_predicts.py      # a row for each environment: docs/results/snr.md

Over all runs of an environment in ``outputs/table/`` (algorithms × seeds): Spearman's rank correlation of the
final evaluation with the mean ``gradient/snr`` of the first tenth of the steps, with its 95 % bootstrap
interval over runs; the same with the mean training return of that tenth, which anybody can see without a
meter; and within algorithms, where both sides are ranked among the seeds of one algorithm.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from table import RESULTS, RUNS, read_finished_summary

RESULT = RESULTS / "snr.md"
SHARE, RESAMPLES, LEAST = 0.1, 1_000, 8  # of a run; of the bootstrap; runs without which nothing is said
HEAD = """# Does the gradient's signal-to-noise ratio predict the final return?

Made by `python benchmarks/snr_predicts.py` from the runs of [table.md](table.md): Spearman's rank
correlation, over all runs of an environment (algorithms × seeds), of the final evaluation with what is known
after a tenth of the steps, with 95 % bootstrap intervals over runs. *Within algorithms*: ranks among the
seeds of one algorithm.

| environment | runs | gradient/snr | return/train | gradient/snr within algorithms |
|---|--:|--:|--:|--:|
"""


@dataclass(frozen=True)
class Early:
    """What a run showed in its first tenth, and how it ended."""

    algo: str
    snr: float
    returns: float
    final: float


def read_early(folder: Path) -> Early | None:
    """None where the run is not finished, or was not measured in its first tenth."""
    summary = read_finished_summary(folder)
    if summary is None:
        return None
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    rows = [row for row in rows if int(row["env_steps"]) <= SHARE * summary["env_steps"]]
    early = [
        np.array([float(row[tag]) for row in rows if row.get(tag)])
        for tag in ("gradient/snr", "return/train")
    ]
    if not all(np.isfinite(x).any() for x in early):
        return None
    snr, returns = (float(np.nanmean(x[np.isfinite(x)])) for x in early)
    return Early(summary["algo"], snr, returns, summary["eval"]["return_mean"])


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's ρ; 0 where one side is all the same, which predicts nothing."""
    ranks = rankdata(x), rankdata(y)
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def describe_correlation(x: np.ndarray, y: np.ndarray) -> str:
    """ρ with its interval over the runs."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(x), (RESAMPLES, len(x)))
    low, high = np.percentile([rank_correlation(x[d], y[d]) for d in draws], [2.5, 97.5])
    return f"{rank_correlation(x, y):.2f} [{low:.2f}, {high:.2f}]"


def rank_within(values: np.ndarray, groups: list[str]) -> np.ndarray:
    """Ranks among the runs of the same group, from 0 (least) to 1."""
    ranks = np.empty(len(values))
    for group in set(groups):
        chosen = np.array([g == group for g in groups])
        ranks[chosen] = (rankdata(values[chosen]) - 1) / max(chosen.sum() - 1, 1)
    return ranks


def describe_env(name: str, runs: list[Early]) -> str:
    algos = [run.algo for run in runs]
    snr, returns, final = (np.array([getattr(r, key) for r in runs]) for key in ("snr", "returns", "final"))
    within = describe_correlation(rank_within(snr, algos), rank_within(final, algos))
    pair = f"{describe_correlation(snr, final)} | {describe_correlation(returns, final)}"
    return f"| {name} | {len(runs)} | {pair} | {within} |"


def main() -> int:
    collected: dict[str, list[Early]] = {}
    for path in sorted(RUNS.glob("*/*/*/summary.json")):
        if path.parts[-4] != "check" and (early := read_early(path.parent)) is not None:
            collected.setdefault(path.parts[-4], []).append(early)
    rows = [describe_env(env, runs) for env, runs in collected.items() if len(runs) >= LEAST]
    if not rows:
        print(f"too few finished runs in {RUNS}: python benchmarks/table.py makes them", file=sys.stderr)
        return 1
    RESULT.write_text(HEAD + "\n".join(rows) + "\n")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
