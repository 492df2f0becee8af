"""All that a comparison says, put together once: the terminal and the page show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgrun.analysis.compare.config import format_label_value
from pgrun.analysis.compare.groups import (
    Group,
    find_differing_paths,
    shorten_setting_path,
    sort_choices_first,
)
from pgrun.analysis.compare.table import (
    Baseline,
    Row,
    format_improvement_column,
    format_score_columns,
    format_threshold_columns,
    make_group_row,
    sort_best_first,
    warn_of_few_seeds,
    warn_of_missing_baseline,
    warn_of_unclear_order,
)
from pgrun.errors import escape_line
from pgrun.presentation.tables import align_columns

FINAL = "final evaluation of each run, over seeds"


@dataclass(frozen=True)
class Comparison:
    groups: list[Group]
    rows: list[Row]
    table: list[list[str]]
    warnings: list[str]
    settings: list[list[str]]  # every setting that differs: a row each, a column for each group
    baseline: Baseline
    score: str  # what it is, in words

    def best(self, top: int) -> list[Group]:
        """The first ``top`` in each environment, and the baselines."""
        seen: dict[tuple[str, ...], int] = {}
        kept = []
        for group in self.groups:
            seen[group.envs] = seen.get(group.envs, 0) + 1
            if seen[group.envs] <= top or group is self.baseline.get(group.envs):
                kept.append(group)
        return kept

    def text(self) -> str:
        warned = [f"warning: {line}" for line in self.warnings]
        return "\n".join([self.score, *align_columns(self.table), *([""] if warned else []), *warned])


def compare_groups(
    groups: Sequence[Group],
    baseline: Baseline,
    threshold: float | None,
    normalised: bool = False,
    score: str = FINAL,
) -> Comparison:
    """Best first, the environments one after the other."""
    groups = sort_best_first(groups)
    rows = [make_group_row(group) for group in groups]
    extra = [format_improvement_column(groups, baseline)] if baseline else []
    extra += format_threshold_columns(groups, threshold) if threshold is not None else []
    table = [[*cells, *more] for cells, *more in zip(format_score_columns(rows), *extra, strict=True)]
    warned = collect_warnings(groups, rows, baseline, normalised)
    return Comparison(groups, rows, table, warned, list_differing_settings(groups), baseline, score)


def collect_warnings(
    groups: Sequence[Group], rows: Sequence[Row], baseline: Baseline, normalised: bool
) -> list[str]:
    warnings = warn_of_few_seeds(rows)
    for envs in dict.fromkeys(group.envs for group in groups):
        members = [(g, r) for g, r in zip(groups, rows, strict=True) if g.envs == envs]
        base = [r for g, r in members if g is baseline.get(envs)]
        warnings += warn_of_indistinct_groups([r for _, r in members], base)
    warnings += warn_of_missing_baseline(groups, baseline)
    for group in groups:
        warnings += warn_of_missing_scores(group)
    if len({group.config.get("sampler.name") == "episodes" for group in groups}) > 1:
        warnings.append(
            "gradient/variance is of a sum over an episode with sampler=episodes, and of a mean over steps "
            "with others: between them only gradient/snr compares"
        )
    if normalised:
        warnings.append("scores are (x − low)/(high − low) of their environment, since a group has several")
    return warnings


def warn_of_indistinct_groups(rows: Sequence[Row], base: Sequence[Row]) -> list[str]:
    """Whatever the intervals do not tell from the baseline, and from the best."""
    warnings, left = [], list(rows)
    for to in dict.fromkeys([*(id(row) for row in base), id(rows[0])]):
        row = next(row for row in rows if id(row) == to)
        warnings += warn_of_unclear_order(left, row)
        left.remove(row)
    return warnings


def warn_of_missing_scores(group: Group) -> list[str]:
    """Seeds without a score, and settings that ``--by`` has pooled over."""
    warnings = []
    missing = sum(run.score is None for run in group.runs)
    if missing:
        warnings.append(
            f"{group.label}: {missing} of {len(group.runs)} runs without a score, which may flatter it"
        )
    pooled = [path for path in find_differing_paths([run.config for run in group.runs]) if path != "env.id"]
    if pooled:
        warnings.append(
            escape_line(
                f"{group.label}: pooled over different {', '.join(map(shorten_setting_path, pooled[:8]))}"
            )
        )
    return warnings


def list_differing_settings(groups: Sequence[Group]) -> list[list[str]]:
    """Every setting that is not the same in all groups."""
    configs = [group.config for group in groups]
    return [
        [
            escape_line(shorten_setting_path(path)),
            *(escape_line(format_label_value(c[path])) if path in c else "" for c in configs),
        ]
        for path in sort_choices_first(find_differing_paths(configs))
    ]
