"""The comparison on the terminal: a row for each group, and what it does not show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.statistics import (
    Interval,
    bootstrap,
    difference_interval,
    improvement_interval,
    iqm,
    mean,
)

FEW = 5  # seeds: with fewer, intervals are too narrow to rest a claim on
NAMED = 6  # groups named in a warning
NONE = "–"
Baseline = Mapping[tuple[str, ...], Group]  # the group to compare with, for each set of environments


@dataclass(frozen=True)
class Row:
    """What is said of one group."""

    label: str
    envs: tuple[str, ...]
    seeds: str
    count: int  # scores in the smallest environment
    strata: Sequence[np.ndarray]  # scores of each environment
    mean: float
    std: float
    mean_interval: Interval
    iqm: float
    iqm_interval: Interval


def make_score_row(
    label: str, envs: tuple[str, ...], seeds: Sequence[int], strata: Sequence[np.ndarray]
) -> Row:
    scores = np.concatenate([np.empty(0), *strata])
    n = len(scores)
    return Row(
        label,
        envs,
        ",".join(map(str, seeds)) if len(seeds) <= 5 else f"{len(seeds)} seeds",
        min((len(x) for x in strata), default=0),
        strata,
        float(scores.mean()) if n else math.nan,
        float(scores.std(ddof=1)) if n > 1 else math.nan,
        bootstrap(strata, mean),
        float(iqm(scores)) if n else math.nan,
        bootstrap(strata, iqm),
    )


def make_group_row(group: Group) -> Row:
    seeds = sorted({run.seed for run in group.runs if run.score is not None})
    return make_score_row(group.label, group.envs, seeds, group.strata)


def sort_best_first(groups: Sequence[Group]) -> list[Group]:
    """The groups by environment, then by IQM; without a score last."""

    def rank(group: Group) -> tuple[object, ...]:
        scores = np.concatenate([np.empty(0), *group.strata])
        return (group.envs, -float(iqm(scores)) if len(scores) else math.inf, group.label)

    return sorted(groups, key=rank)


def format_score_columns(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Head and cells of the columns that every table has."""
    head = ("configuration", "seeds", "mean ± std", "95 % of mean", "IQM", "95 % of IQM")
    decimals = choose_decimals_by_envs(rows)
    return [head, *(format_score_cells(row, decimals[row.envs]) for row in rows)]


def choose_decimals_by_envs(rows: Sequence[Row]) -> dict[tuple[str, ...], int]:
    """Scores of one environment may be hundreds and those of another fractions of 1."""
    scores: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        scores.setdefault(row.envs, []).extend(x for stratum in row.strata for x in stratum)
    return {envs: choose_decimals(values) for envs, values in scores.items()}


def format_score_cells(row: Row, digits: int) -> tuple[str, ...]:
    return (
        row.label,
        row.seeds or NONE,
        format_mean_and_std(row.mean, row.std, digits),
        format_interval(row.mean_interval, digits),
        format_number(row.iqm, digits),
        format_interval(row.iqm_interval, digits),
    )


def format_improvement_column(groups: Sequence[Group], baseline: Baseline) -> list[str]:
    """P(a run is better than one of the baseline), with its interval."""
    cells = [format_improvement_over(group, choose_baseline(group, baseline)) for group in groups]
    return ["P(> baseline)", *cells]


def choose_baseline(group: Group, baseline: Baseline) -> Group | None:
    """The one of the same environments; without it the one that shares most of them, or none."""
    own = baseline.get(group.envs)
    if own is not None and (own is group or find_shared_envs(group, own)):
        return own
    nearest = max(baseline.values(), key=lambda base: len(find_shared_envs(group, base)), default=None)
    return nearest if nearest is not None and find_shared_envs(group, nearest) else None


def find_shared_envs(group: Group, base: Group) -> list[str]:
    """The environments in which both have scores."""
    return [env for env in group.scores if env in base.scores]


def format_improvement_over(group: Group, base: Group | None) -> str:
    if base is None:
        return NONE
    if base is group:
        return "baseline"
    value, (low, high) = improvement_interval(*pair_scores(group, base))
    return f"{value:.2f}" + ("" if math.isnan(low) else f" ({low:.2f} … {high:.2f})")


def pair_scores(group: Group, base: Group) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The scores of both in each environment that both have."""
    shared = find_shared_envs(group, base)
    return [group.scores[env] for env in shared], [base.scores[env] for env in shared]


def format_threshold_columns(groups: Sequence[Group], threshold: float) -> list[list[str]]:
    """Median environment steps and seconds until an evaluation reaches it; runs that
    never do count as infinite.
    """
    steps, seconds = [f"steps to {threshold:g}"], ["seconds"]
    for group in groups:
        reached = np.array([run.metrics.reaches(threshold) for run in group.runs])
        share = f"({int(np.isfinite(reached[:, 0]).sum())}/{len(reached)})"
        median = median_over_runs(reached)
        steps.append(f"{format_number(median[0], 0)} {share}")
        seconds.append(format_number(median[1], 1))
    return [steps, seconds]


def median_over_runs(reached: np.ndarray) -> np.ndarray:
    """Median over runs; with an even number and one of the two middle ones infinite, infinite."""
    ordered = np.sort(reached, 0)
    n = len(ordered)
    median: np.ndarray = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return median


def choose_decimals(values: Sequence[float]) -> int:
    return 1 if max(map(abs, values), default=0) >= 10 else 3


def format_number(x: float, digits: int) -> str:
    return f"{x:,.{digits}f}" if math.isfinite(x) else NONE


def format_mean_and_std(center: float, std: float, digits: int) -> str:
    return format_number(center, digits) + ("" if math.isnan(std) else f" ± {format_number(std, digits)}")


def format_interval(ends: Interval, digits: int) -> str:
    return (
        NONE
        if math.isnan(ends[0])
        else f"{format_number(ends[0], digits)} … {format_number(ends[1], digits)}"
    )


def warn_of_few_seeds(rows: Sequence[Row]) -> list[str]:
    """A warning, or none."""
    few = [f"{r.label} ({r.count})" for r in rows if 0 < r.count < FEW]
    if not few:
        return []
    which = f": {join_first_names(few)}"
    if len(few) == len(rows) > 3:
        which = f" in each of the {len(rows)} configurations"
    return [
        f"fewer than five seeds{which}; intervals of so few are too narrow, and a claim rests on five or more"
    ]


def warn_of_unclear_order(rows: Sequence[Row], to: Row) -> list[str]:
    """A warning that names the groups whose IQM this data cannot tell from that of ``to``; or none."""
    others = [row for row in rows if row is not to]
    differences = [difference_interval(row.strata, to.strata) for row in others]
    alike = [row.label for row, (low, high) in zip(others, differences, strict=True) if low <= 0 <= high]
    if not alike:
        return []
    return [
        (
            f"the IQM's difference may be 0 (95 %): {to.label} and {join_first_names(alike)}; these runs do "
            "not show which is better"
        )
    ]


def warn_of_missing_baseline(groups: Sequence[Group], baseline: Baseline) -> list[str]:
    """Environments of a group that its baseline lacks, so that ``P(> baseline)`` is over the others alone, or
    is not there.
    """
    labels: dict[tuple[str, str], list[str]] = {}
    for group in groups if baseline else ():
        base = choose_baseline(group, baseline)
        shared = find_shared_envs(group, base) if base else []
        lacking = [env for env in group.scores if env not in shared]
        if lacking:
            what = f"over {', '.join(shared)} alone" if base else "missing"
            whose = base.label if base else "the baseline"
            why = f"{whose} has no run with a score on {', '.join(lacking)}"
            labels.setdefault((what, why), []).append(group.label)
    return [
        f"P(> baseline) of {join_first_names(names)} is {what}: {why}"
        for (what, why), names in labels.items()
    ]


def join_first_names(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return "; ".join(names[:NAMED]) + (f"; and {more} others" if more > 0 else "")
