"""The comparison on the terminal: a row for each group, and what it does not show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.statistics import Interval, bootstrap, improvement_interval, iqm, mean

FEW = 5  # seeds: with fewer, intervals are too narrow to rest a claim on
NAMED = 6  # groups named in a warning
NONE = "–"


@dataclass(frozen=True)
class Row:
    """What is said of one group."""

    label: str
    seeds: str
    count: int  # scores in the smallest environment
    scores: np.ndarray
    mean: float
    std: float
    mean_interval: Interval
    iqm: float
    iqm_interval: Interval


def row(label: str, seeds: Sequence[int], strata: Sequence[np.ndarray]) -> Row:
    scores = np.concatenate([np.empty(0), *strata])
    n = len(scores)
    return Row(
        label,
        ",".join(map(str, seeds)) if len(seeds) <= 5 else f"{len(seeds)} seeds",
        min((len(x) for x in strata), default=0),
        scores,
        float(scores.mean()) if n else math.nan,
        float(scores.std(ddof=1)) if n > 1 else math.nan,
        bootstrap(strata, mean),
        float(iqm(scores)) if n else math.nan,
        bootstrap(strata, iqm),
    )


def of_group(group: Group) -> Row:
    return row(group.label, sorted({run.seed for run in group.runs if run.score is not None}), group.strata)


def best_first(groups: Sequence[Group]) -> list[Group]:
    """The groups by environment, then by IQM; without a score last."""

    def rank(group: Group) -> tuple[object, ...]:
        scores = np.concatenate([np.empty(0), *group.strata])
        return (group.envs, -float(iqm(scores)) if len(scores) else math.inf, group.label)

    return sorted(groups, key=rank)


def columns(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Head and cells of the columns that every table has."""
    digits = decimals([x for r in rows for x in r.scores])
    head = ("configuration", "seeds", "mean ± std", "95 % of mean", "IQM", "95 % of IQM")
    cells = [
        (
            r.label,
            r.seeds or NONE,
            spread(r.mean, r.std, digits),
            interval(r.mean_interval, digits),
            shown(r.iqm, digits),
            interval(r.iqm_interval, digits),
        )
        for r in rows
    ]
    return [head, *cells]


def improvements(groups: Sequence[Group], baseline: Mapping[tuple[str, ...], Group]) -> list[str]:
    """P(a run is better than one of the baseline), with its interval."""
    return ["P(> baseline)", *(better(group, baseline.get(group.envs)) for group in groups)]


def better(group: Group, base: Group | None) -> str:
    if base is group:
        return "baseline"
    pair = against(group, base) if base else None
    if pair is None:
        return NONE
    value, (low, high) = improvement_interval(*pair)
    return f"{value:.2f}" + ("" if math.isnan(low) else f" ({low:.2f} … {high:.2f})")


def against(group: Group, base: Group) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """The scores of both in each environment that both have."""
    shared = [env for env in group.scores if env in base.scores]
    return ([group.scores[e] for e in shared], [base.scores[e] for e in shared]) if shared else None


def thresholds(groups: Sequence[Group], threshold: float) -> list[list[str]]:
    """Median environment steps and seconds until an evaluation reaches it; runs that
    never do count as infinite.
    """
    steps, seconds = [f"steps to {threshold:g}"], ["seconds"]
    for group in groups:
        reached = np.array([run.metrics.reaches(threshold) for run in group.runs])
        share = f"({int(np.isfinite(reached[:, 0]).sum())}/{len(reached)})"
        median = middle(reached)
        steps.append(f"{shown(median[0], 0)} {share}")
        seconds.append(shown(median[1], 1))
    return [steps, seconds]


def middle(reached: np.ndarray) -> np.ndarray:
    """Median over runs; with an even number and one of the two middle ones infinite, infinite."""
    ordered = np.sort(reached, 0)
    n = len(ordered)
    median: np.ndarray = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return median


def lines(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip() for cells in table]


def decimals(values: Sequence[float]) -> int:
    return 1 if max(map(abs, values), default=0) >= 10 else 3


def shown(x: float, digits: int) -> str:
    return f"{x:,.{digits}f}" if math.isfinite(x) else NONE


def spread(center: float, std: float, digits: int) -> str:
    return shown(center, digits) + ("" if math.isnan(std) else f" ± {shown(std, digits)}")


def interval(ends: Interval, digits: int) -> str:
    return NONE if math.isnan(ends[0]) else f"{shown(ends[0], digits)} … {shown(ends[1], digits)}"


def few_seeds(rows: Sequence[Row]) -> list[str]:
    """A warning, or none."""
    few = [f"{r.label} ({r.count})" for r in rows if 0 < r.count < FEW]
    if not few:
        return []
    return [
        (
            f"fewer than five seeds: {some(few)}; intervals of so few are too narrow, and a claim rests on "
            "five or more"
        )
    ]


def overlaps(rows: Sequence[Row], to: Row) -> list[str]:
    """A warning that names the groups whose IQM this data cannot tell from that of ``to``; or none."""
    low, high = to.iqm_interval
    alike = [r.label for r in rows if r is not to and r.iqm_interval[0] <= high and low <= r.iqm_interval[1]]
    if not alike:
        return []
    return [
        (
            f"95 % intervals of the IQM overlap: {to.label} with {some(alike)}; these runs do not show "
            "which is better"
        )
    ]


def some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return "; ".join(names[:NAMED]) + (f"; and {more} others" if more > 0 else "")
