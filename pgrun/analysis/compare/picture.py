"""The curves as PNG, SVG or PDF, and as the charts of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from pgrun.analysis.compare.curves import Curve, Panel
from pgrun.analysis.compare.groups import Group
from pgrun.analysis.compare.usual_scalars import TITLES
from pgrun.presentation.panels import Lines, Series
from pgrun.presentation.plotting import (
    LEGEND,
    PANEL,
    add_shared_legend,
    draw_panel,
    format_svg,
    format_tick,
    open_figure,
    write_figure,
)
from pgrun.presentation.styles import COLOURS, FAINT, GRID, INK

SLACK = 0.4  # of the curves' own range: how far a wide interval may stretch the axis
SLICES = 50  # of a chart on the page: each says its values where a mouse stands
CHARACTER = 0.075  # inches of one in a legend


def make_lines(panel: Panel, title: str) -> Lines:
    series = [
        Series(c.label, c.steps, c.middle, low=c.low, high=c.high, number=c.number) for c in panel.curves
    ]
    return Lines(title, "environment steps", series, log_y=panel.log, limits=find_y_limits(panel))


def title_of(tag: str) -> str:
    """What is seen, and the scalar's own name."""
    return f"{TITLES[tag]} ({tag})" if tag in TITLES else tag


def find_y_limits(panel: Panel) -> tuple[float, float]:
    """(low, high) of the y axis: all curves, and their intervals unless those are very wide."""
    middle, low, high = (
        np.concatenate([getattr(curve, name) for curve in panel.curves]) for name in ("middle", "low", "high")
    )
    low, high = (np.where(np.isnan(end), middle, end) for end in (low, high))
    if panel.log:
        middle, low, high = (np.log10(np.maximum(x, middle.min() / 10)) for x in (middle, low, high))
    least, greatest = float(middle.min()), float(middle.max())
    room = SLACK * (greatest - least) or abs(greatest) / 10 or 1.0
    least, greatest = max(float(low.min()), least - room), min(float(high.max()), greatest + room)
    if greatest - least <= 0:
        least, greatest = least - room, greatest + room
    edge = 0.04 * (greatest - least)
    ends = np.array([least - edge, greatest + edge])
    least, greatest = (10.0**ends if panel.log else ends).tolist()
    return least, greatest


def draw_comparison(rows: Sequence[Sequence[Panel]], groups: Sequence[Group], path: Path) -> None:
    """A row of panels for each environment, one legend below."""
    rows = [row for row in rows if any(panel.curves for panel in row)]
    wide, tall = len(rows[0]), len(rows)
    drawn = {curve.number for row in rows for panel in row for curve in panel.curves}
    labels = [(n, group.label) for n, group in enumerate(groups) if n in drawn]
    longest = min(max(len(label) for _, label in labels), LEGEND)
    columns = max(1, min(len(labels), int(PANEL[0] * wide / (CHARACTER * longest + 0.7))))
    under = 0.22 * -(-len(labels) // columns) + 0.1
    with open_figure(PANEL[0] * wide, PANEL[1] * tall + under) as figure:
        axes = figure.subplots(tall, wide, squeeze=False)
        for panel, axis in zip((p for row in rows for p in row), axes.flat, strict=True):
            title = title_of(panel.tag) if tall == 1 else f"{panel.env} · {panel.tag}"
            if panel.curves:
                draw_panel(axis, make_lines(panel, title))
                axis.set_xlim(left=0)
            else:
                axis.set_title(title)
                axis.set_axis_off()
                axis.text(0.5, 0.5, "no run has it", ha="center", transform=axis.transAxes)
        add_shared_legend(figure, labels, columns)
        write_figure(figure, path, "curves over seeds")


def render_chart(panel: Panel, name: str) -> str:
    """SVG for the page, in the page's colours. ``name`` stands before its ids, which are a page's own."""
    with open_figure(*PANEL, fitted=False) as figure:  # one frame for all
        axis = figure.add_axes((0.12, 0.16, 0.83, 0.72))  # room for the last label, 500k
        draw_panel(axis, make_lines(panel, title_of(panel.tag)))
        axis.set_xlim(0, max(float(curve.steps[-1]) for curve in panel.curves))
        axis.patch.set_visible(False)
        figure.patch.set_visible(False)
        texts = dict(iterate_slices(panel))
        for i, (left, right) in enumerate(texts):
            axis.axvspan(left, right, facecolor="none", edgecolor="none", gid=f"slice-{i}")
        svg = format_svg(figure, title_of(panel.tag))
    for i, text in enumerate(texts.values()):
        svg = svg.replace(f'<g id="slice-{i}">', f'<g class="slice"><title>{escape(text)}</title>')
    for place, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--c{place})")
    for colour, word in ((INK, "ink"), (FAINT, "faint"), (GRID, "grid")):
        svg = svg.replace(colour, f"var(--{word})")
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| (width|height)="[\d.]+pt"', "", svg)
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)


def iterate_slices(panel: Panel) -> Iterator[tuple[tuple[float, float], str]]:
    """(where it begins and ends, what the curves are in its middle), from left to right."""
    edges = np.linspace(0, max(float(curve.steps[-1]) for curve in panel.curves), SLICES + 1)
    for left, right in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        at = (left + right) / 2
        values = [format_value_at(curve, at) for curve in panel.curves if curve.steps[0] <= at]
        if values:
            yield (left, right), "\n".join([f"{format_tick(at)} steps", *filter(None, values)])


def format_value_at(curve: Curve, steps: float) -> str:
    """The value at the curve's point nearest to it, and its interval; empty where it has ended."""
    place = int(np.abs(curve.steps - steps).argmin())
    if steps > curve.steps[-1]:
        return ""
    interval = (
        f" ({curve.low[place]:.4g} … {curve.high[place]:.4g})" if curve.low[place] == curve.low[place] else ""
    )
    return f"{curve.label}: {curve.middle[place]:.4g}{interval}"
