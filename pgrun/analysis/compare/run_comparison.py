"""What ``pgrun-compare`` does, one thing after the other."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from pgrun.analysis.compare.curves import POINTS, Panel, make_panels
from pgrun.analysis.compare.export import refuse_shared_cells, write_csv, write_npz, write_tensorboard
from pgrun.analysis.compare.groups import (
    Group,
    find_baseline,
    group_runs,
    normalise_scores,
    shorten_setting_path,
)
from pgrun.analysis.compare.html import render_page
from pgrun.analysis.compare.metrics import EVAL, SPEED
from pgrun.analysis.compare.read_runs import Run, read_runs
from pgrun.analysis.compare.report import FINAL, Comparison, compare_groups
from pgrun.analysis.compare.statistics import iqm, mean
from pgrun.analysis.compare.usual_scalars import SCALARS
from pgrun.atomic_files import write_bytes
from pgrun.errors import InvalidCommand
from pgrun.terminal.exit_codes import ExitCode
from pgrun.terminal.printing import say


def run_comparison(options: argparse.Namespace) -> int:
    tags = choose_scalars(options)
    timed = (EVAL, SPEED) if options.threshold is not None else ()
    read = read_runs(options.dirs, [*tags, *timed], options.at)
    for note in read.notes:
        say(f"pgrun-compare: {note}", error=True)
    if not read.runs:
        raise InvalidCommand(
            " ".join(options.dirs),
            None,
            "no run of pgrun in it: a run directory holds .hydra/, metrics.csv and summary.json",
        )
    check_scalars(options.scalars and tags, read.runs)
    comparison = make_comparison(options, read.runs)
    say(comparison.text())
    drawn = comparison.best(options.top)
    rows = make_panels(drawn, tags, iqm if options.curve == "iqm" else mean) if tags else []
    if options.export:
        refuse_shared_cells(comparison.groups)
    if options.picture and not any(panel.curves for row in rows for panel in row):
        raise InvalidCommand(
            "--picture", options.picture, f"none of these runs has a value of {', '.join(tags)}"
        )
    if options.html:
        write_page(options.html, comparison, rows, drawn, read.notes, options.curve)
    write_others(options, comparison.groups, drawn, rows)
    return ExitCode.DONE


def choose_scalars(options: argparse.Namespace) -> list[str]:
    """The scalars whose curves are wanted; none where nothing shows them."""
    drawing = options.html or options.picture or options.tensorboard
    if not drawing and not options.scalars:
        return []
    typed = [tag for word in options.scalars or SCALARS for tag in word.split(",") if tag]
    return list(dict.fromkeys(typed))


def check_scalars(tags: Sequence[str] | None, runs: Sequence[Run]) -> None:
    known = sorted({tag for run in runs for tag in run.metrics.tags})
    for tag in tags or ():
        if tag not in known:
            near = difflib.get_close_matches(tag, known, 3, 0.4) or known[:5]
            raise InvalidCommand("--scalars", tag, f"no run has it; near it: {', '.join(near) or 'nothing'}")


def make_comparison(options: argparse.Namespace, runs: Sequence[Run]) -> Comparison:
    groups = group_runs(runs, options.by)
    several = any(len(one.envs) > 1 for one in groups)
    if options.range and not several:
        raise InvalidCommand(
            "--range", None, "is for groups over several environments", "add --by algo, or leave it out"
        )
    if several:
        groups = normalise_scores(groups, parse_score_ranges(options.range, {run.env for run in runs}))
    baseline = find_baseline(groups, options.baseline) if options.baseline else {}
    score = f"last evaluation up to {options.at:,} steps of each run, over seeds" if options.at else FINAL
    return compare_groups(groups, baseline, options.threshold, several, score)


def parse_score_ranges(typed: Sequence[str], envs: set[str]) -> dict[str, tuple[float, float]]:
    """``--range CartPole-v1=9:500``."""
    score_ranges = {}
    for word in typed:
        env, _, ends = word.partition("=")
        try:
            low, high = map(float, ends.split(":"))
        except ValueError:
            raise InvalidCommand(
                "--range", word, "say it as ENV=LOW:HIGH, for example CartPole-v1=9:500"
            ) from None
        if env not in envs or not low < high:
            raise InvalidCommand(
                "--range", word, f"an environment of these runs ({', '.join(sorted(envs))}), and LOW < HIGH"
            )
        score_ranges[env] = (low, high)
    return score_ranges


def write_page(
    path: Path,
    comparison: Comparison,
    rows: Sequence[Sequence[Panel]],
    drawn: Sequence[Group],
    notes: Sequence[str],
    curve: str,
) -> None:
    envs = sorted({env for group in comparison.groups for env in group.envs})
    runs = sum(len(group.runs) for group in comparison.groups)
    title = f"{', '.join(envs[:4])}: {name_what_differs(comparison.groups)}{runs} runs"
    best = (
        f"; the best {len(drawn)} of {len(comparison.groups)} groups"
        if len(drawn) < len(comparison.groups)
        else ""
    )
    note = (
        f"Curves: {curve} over seeds with its 95 % interval{best}. At each of {POINTS} points a seed's "
        "value is that on the straight line between its rows; drawn where at least half of the seeds have "
        "one. The values are shown where the mouse stands."
    )
    write_bytes(path, render_page(comparison, rows, drawn, note, notes, title).encode())


def name_what_differs(groups: Sequence[Group]) -> str:
    """``algo and variance compared, 9 configurations, ``; empty of one group."""
    if len(groups) == 1:
        return ""
    keys = dict.fromkeys(key for group in groups for key in re.findall(r"(?:^| )([\w.]+)=", group.label))
    names = [shorten_setting_path(key) for key in keys]
    said = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
    return f"{said} compared, {len(groups)} configurations, " if said else f"{len(groups)} configurations, "


def write_others(
    options: argparse.Namespace,
    groups: Sequence[Group],
    drawn: Sequence[Group],
    rows: Sequence[Sequence[Panel]],
) -> None:
    if options.picture:
        from pgrun.analysis.compare.picture import draw_comparison

        draw_comparison(rows, drawn, options.picture)
    if options.export and options.export.suffix == ".csv":
        write_csv(groups, options.export)
    elif options.export:
        write_npz(groups, rows, options.export)
    told = [str(path) for path in (options.html, options.picture, options.export) if path]
    if options.tensorboard:
        count = write_tensorboard(rows, options.tensorboard, options.curve)
        logs = shlex.quote(str(options.tensorboard))
        told.append(f"{count} runs in {options.tensorboard}: tensorboard --logdir {logs}")
    if told:
        say("\nwritten: " + ", ".join(told))
