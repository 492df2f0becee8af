"""The curves as PNG, SVG or PDF. Needs matplotlib (extra ``plot``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pgrun.analysis.compare.axes import find_y_limits, format_tick
from pgrun.analysis.compare.curves import Panel
from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.svg import choose_style
from pgrun.atomic_files import replace_file

LEGEND = 46  # characters of a label that are shown


def draw_comparison(rows: Sequence[Sequence[Panel]], groups: Sequence[Group], path: Path) -> None:
    """A row of panels for each environment, one legend below."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    rows = [row for row in rows if any(panel.curves for panel in row)]
    wide, tall = len(rows[0]), len(rows)
    under = 0.22 * -(-len(groups) // count_labels_per_line(groups, wide)) + 0.1
    size = (4.6 * wide, 3.3 * tall + under)
    figure, axes = plt.subplots(tall, wide, figsize=size, layout="constrained", squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for panel, axis in zip(row, line, strict=True):
            draw_panel(axis, panel, panel.tag if tall == 1 else f"{panel.env} · {panel.tag}")
    drawn = {curve.number for row in rows for panel in row for curve in panel.curves}
    handles = [make_legend_handle(group, n) for n, group in enumerate(groups) if n in drawn]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=count_labels_per_line(groups, wide),
        frameon=False,
        fontsize=9,
    )
    replace_file(path, lambda file: figure.savefig(file, dpi=130, format=path.suffix[1:]))
    plt.close(figure)


def draw_panel(axis: Any, panel: Panel, title: str) -> None:
    axis.set_title(title, fontsize=11, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    if not panel.curves:
        axis.text(0.5, 0.5, "no run has it", ha="center", va="center", transform=axis.transAxes, color="#888")
        axis.set_xticks([])
        axis.set_yticks([])
        return
    for curve in panel.curves:
        axis.fill_between(
            curve.steps, curve.low, curve.high, color=choose_style(curve.number)[0], alpha=0.16, linewidth=0
        )
        axis.plot(curve.steps, curve.middle, **choose_line_style(curve.number))
    if panel.log:
        axis.set_yscale("log")
    low, high = find_y_limits(panel)
    axis.set_ylim(*(10.0 ** np.array([low, high]) if panel.log else (low, high)))
    axis.set_xlim(left=0)
    axis.set_axisbelow(True)
    axis.grid(axis="y", color="#e8e8e8", linewidth=0.8)
    axis.xaxis.set_major_formatter(lambda x, _: format_tick(x))
    axis.set_xlabel("environment steps")


def choose_line_style(number: int) -> dict[str, Any]:
    colour, dashes = choose_style(number)
    pattern = (0, tuple(float(x) / 2 for x in dashes.split())) if dashes else "-"
    return {"color": colour, "linestyle": pattern, "linewidth": 1.8}


def make_legend_handle(group: Group, number: int) -> Any:
    from matplotlib.lines import Line2D

    label = group.label if len(group.label) <= LEGEND else group.label[: LEGEND - 1] + "…"
    return Line2D([], [], label=label, **choose_line_style(number))


def count_labels_per_line(groups: Sequence[Group], panels: int) -> int:
    """How many labels stand beside one another below the panels."""
    longest = min(max(len(group.label) for group in groups), LEGEND)
    return max(1, min(len(groups), int(4.6 * panels / (0.075 * longest + 0.6))))
