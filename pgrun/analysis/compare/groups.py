"""Runs of one configuration, whatever their seed, and the shortest label that says what differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pgrun.analysis.compare.config import format_label_value, make_settings_key, parse_typed_value
from pgrun.analysis.compare.read_runs import Run
from pgrun.errors import InvalidCommand, escape_line

CHOICES = (
    "algo.name",
    "variance.name",
    "env.id",
    "sampler.name",
    "critic.name",
    "optimizer.name",
    "network.name",
)
DEFAULTS = "(defaults)"
LONG_NUMBER = re.compile(r"(?<==)-?\d+\.\d{4,}(?:e[-+]?\d+)?(?![\w.])")
NEXT_SETTING = re.compile(r"\s+(?=[A-Za-z_][\w.]*=)")  # in a label


SEVERAL = "several"  # values of a setting that a group pools over
NOT_SET = "(none)"  # of a setting that a choice does not have


@dataclass(frozen=True)
class Group:
    label: str
    runs: tuple[Run, ...]

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """The scores of each environment, by seed."""
        scores_by_env: dict[str, list[float]] = {}
        for run in sorted(self.runs, key=lambda run: run.seed):
            if run.score is not None:
                scores_by_env.setdefault(run.env, []).append(run.score)
        return {env: np.array(scores_by_env[env]) for env in sorted(scores_by_env)}

    @property
    def strata(self) -> list[np.ndarray]:
        """Scores by environment: the bootstrap draws in each."""
        return list(self.scores.values())

    @property
    def envs(self) -> tuple[str, ...]:
        return tuple(sorted({run.env for run in self.runs}))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings of its runs, those that are not the same in all of them as ``SEVERAL``."""
        several = find_differing_paths([run.config for run in self.runs])
        return {**self.runs[0].config, **dict.fromkeys(several, SEVERAL)}

    def has_setting(self, path: str, value: Any, rounded: bool = False) -> bool:
        """Whether all of its runs have it; ``rounded``: as ``shorten_numbers`` leaves it in a label."""
        held = self.config.get(path, NOT_SET)
        if rounded and isinstance(held, float):
            held = float(shorten_number(f"={format_label_value(held)}")[1:])
        return held is not SEVERAL and format_label_value(held) == format_label_value(value)


def group_runs(runs: Sequence[Run], by: Sequence[str] = ()) -> list[Group]:
    """The runs by configuration without seed, or by the settings ``by`` alone."""
    paths = [find_setting_path(key, runs) for key in by]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(make_settings_key(run.config, paths), []).append(run)
    members = list(groups.values())
    if by:
        names = [format_settings({**dict.fromkeys(paths, NOT_SET), **rs[0].config}, paths) for rs in members]
    else:
        names = label_groups([(rs[0].config, {key for run in rs for key in run.typed}) for rs in members])
    names = shorten_numbers(names)
    return [Group(name, tuple(rs)) for name, rs in zip(names, members, strict=True)]


def shorten_numbers(labels: Sequence[str]) -> list[str]:
    """Labels with four digits of each long number, where that still tells them apart."""
    short = [shorten_number(label) for label in labels]
    return short if len(set(short)) == len(set(labels)) else list(labels)


def shorten_number(text: str) -> str:
    """A text such as ``optimizer.lr=0.00273912`` with four digits of each long number."""
    return LONG_NUMBER.sub(lambda number: f"{float(number[0]):.4g}", text)


def find_setting_path(key: str, runs: Iterable[Run]) -> str:
    """``algo`` is ``algo.name``, ``env`` is ``env.id``. Raises ``InvalidCommand``."""
    if key in ("seed", "seeds"):
        raise InvalidCommand(
            key, None, "a group is its configuration over all its seeds", "name another setting, such as algo"
        )
    known = {path for run in runs for path in run.config}
    path_or_none = next((path for path in (key, f"{key}.name", f"{key}.id") if path in known), None)
    if path_or_none is None:
        raise InvalidCommand(
            key, None, "no such setting in these runs; for example algo, variance, env or optimizer.lr"
        )
    return path_or_none


def label_groups(groups: Sequence[tuple[dict[str, Any], set[str]]]) -> list[str]:
    """A label for each (configuration, keys typed for it).

    First what was typed and differs; groups that it leaves alike are told apart by their choices
    (algorithm, scheme, …), and those that are still alike by every setting that differs. So defaults that
    follow from a choice are not in the label.
    """
    configs = [config for config, _ in groups]
    if len(configs) == 1:
        return [format_settings(configs[0], CHOICES[:3])]
    shown: list[list[str]] = [[] for _ in groups]
    typed = {key for _, keys in groups for key in keys}
    for path in [
        path for path in sort_choices_first(find_differing_paths(configs)) if was_typed(path, typed)
    ]:
        show_path(shown, range(len(configs)), path)
    for path in CHOICES:
        for alike in find_equal_labels(configs, shown):
            if path in find_differing_paths([configs[i] for i in alike]):
                show_path(shown, alike, path)
    for alike in find_equal_labels(configs, shown):
        for path in sort_choices_first(find_differing_paths([configs[i] for i in alike])):
            show_path(shown, alike, path)
    return [
        format_settings(config, sort_choices_first(paths)) or DEFAULTS
        for config, paths in zip(configs, shown, strict=True)
    ]


def show_path(shown: list[list[str]], which: Iterable[int], path: str) -> None:
    for i in which:
        if path not in shown[i]:
            shown[i].append(path)


def find_equal_labels(configs: Sequence[dict[str, Any]], shown: Sequence[list[str]]) -> list[list[int]]:
    """Numbers of the configurations that the paths shown so far do not tell apart, group by group."""
    by_label: dict[str, list[int]] = {}
    for i, (config, paths) in enumerate(zip(configs, shown, strict=True)):
        by_label.setdefault(format_settings(config, sort_choices_first(paths)), []).append(i)
    return [alike for alike in by_label.values() if len(alike) > 1]


def find_differing_paths(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Paths whose value is not the same in all, or that some do not have."""
    paths = dict.fromkeys(path for config in configs for path in config)
    return [
        path for path in paths if len({format_label_value(config.get(path, ...)) for config in configs}) > 1
    ]


def sort_choices_first(paths: Iterable[str]) -> list[str]:
    """Choices first, then as they come."""
    rank = {path: n for n, path in enumerate(CHOICES)}
    return sorted(paths, key=lambda path: rank.get(path, len(CHOICES)))


def was_typed(path: str, keys: set[str]) -> bool:
    """``algo=ppo`` means ``algo.name``; ``env.kwargs={…}`` all below it."""
    return any(
        path in (key, f"{key}.name", f"{key}.id") or ("." in key and path.startswith(f"{key}."))
        for key in keys
    )


def format_settings(config: dict[str, Any], paths: Iterable[str]) -> str:
    return escape_line(
        " ".join(
            f"{shorten_setting_path(path)}={format_label_value(config[path])}"
            for path in paths
            if path in config
        )
    )


def shorten_setting_path(path: str) -> str:
    return path.removesuffix(".name").removesuffix(".id") if path.count(".") >= 1 else path


def find_baseline(groups: Sequence[Group], typed: Sequence[str]) -> dict[tuple[str, ...], Group]:
    """The one group that has the settings ``typed``, or that they are the label of, for each set of
    environments. Labels round numbers: where no group has one as typed, it is those that are shown so.
    """
    label = " ".join(typed)
    named = {group.envs: group for group in groups if group.label == label}
    if DEFAULTS in typed and named:
        return named
    wanted = read_wanted_settings([label] if named else typed, groups)
    fitting = find_fitting_groups(groups, wanted) or find_fitting_groups(groups, wanted, rounded=True)
    matching = dict(named)
    for candidate in fitting:
        if candidate.envs in named:
            continue
        if candidate.envs in matching:
            both = f"{matching[candidate.envs].label}; {candidate.label}"
            raise InvalidCommand(
                "--baseline", label, f"fits several groups ({both})", "add what tells them apart"
            )
        matching[candidate.envs] = candidate
    if not matching:
        names = "; ".join(group.label for group in groups[:8])
        raise InvalidCommand("--baseline", label, f"fits no group; there are: {names}")
    return matching


def read_wanted_settings(typed: Sequence[str], groups: Sequence[Group]) -> list[tuple[str, Any]]:
    """(path, value) of each ``setting=value``; a word in quotes may hold several, as a label does."""
    words = [word for part in typed for word in NEXT_SETTING.split(part.strip())]
    if bad := [word for word in words if "=" not in word]:
        raise InvalidCommand("--baseline", bad[0], "say it as setting=value, for example --baseline algo=a2c")
    runs = [run for group in groups for run in group.runs]
    pairs = (word.partition("=") for word in words)
    return [(find_setting_path(key, runs), parse_typed_value(value)) for key, _, value in pairs]


def find_fitting_groups(
    groups: Sequence[Group], wanted: Sequence[tuple[str, Any]], rounded: bool = False
) -> list[Group]:
    return [g for g in groups if all(g.has_setting(path, value, rounded) for path, value in wanted)]


def normalise_scores(groups: Sequence[Group], ranges: dict[str, tuple[float, float]]) -> list[Group]:
    """Scores as (x − low)/(high − low) of their environment: ``ranges``, or the least
    and greatest score found in it.
    """
    normalised: dict[str, list[float]] = {}
    for run in (run for group in groups for run in group.runs):
        if run.score is not None:
            normalised.setdefault(run.env, []).append(run.score)
    bounds = {env: (min(scores), max(scores)) for env, scores in normalised.items()} | ranges

    def scaled(run: Run) -> Run:
        if run.score is None:
            return run
        low, high = bounds[run.env]
        return replace(run, score=(run.score - low) / (high - low) if high > low else 0.0)

    return [Group(group.label, tuple(map(scaled, group.runs))) for group in groups]
