"""The one drawer: panels as SVG, PNG or PDF with matplotlib, which is imported where it is first needed.

The same panels are the same bytes: no date, no random ids, the font that matplotlib brings, no user's style.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pgrun.atomic_files import replace_file, write_bytes
from pgrun.presentation.panels import Bars, Lines, Numbers, Panel, Series
from pgrun.presentation.styles import FAINT, GRID, INK, choose_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOK = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a label is what a run says, $ and all
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "errorbar.capsize": 3,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "pgrun",
    "savefig.dpi": 130,
}
UNDATED = {  # what each format would say of today and of matplotlib
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}
PANEL = (4.7, 3.1)  # inches
WIDE = 6.4
ROW = 0.28  # inches of a bar
LEGEND = 46  # characters of a label that are shown
MARKS = 8  # markers along a curve
DEEPEST = 1e3  # a value ÷ the lowest end of its interval that a logarithmic axis shows


@contextmanager
def open_figure(width: float, height: float, *, fitted: bool = True) -> Iterator[Figure]:
    """A figure in inches. Draw it and write it inside, where the look is set.

    ``fitted``: its axes are laid out by what stands around them, for which all is drawn twice.
    """
    with set_look():
        from matplotlib.figure import Figure

        yield Figure(figsize=(width, height), layout="constrained" if fitted else None)


@contextmanager
def set_look() -> Iterator[None]:
    """Whatever style the user has, figures look as here."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a home that cannot be written is no news
    from matplotlib import style

    with style.context(["default", LOOK]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in another script
        yield


def write_figure(figure: Figure, path: Path, title: str) -> None:
    """By the ending of its name. Safe against an end in the middle."""
    kind = path.suffix[1:]
    if kind == "svg":
        write_bytes(path, f"{format_svg(figure, title)}\n".encode())
    else:
        replace_file(path, lambda file: figure.savefig(file, format=kind, metadata=UNDATED[kind]))


def format_svg(figure: Figure, title: str) -> str:
    """The figure as text, with a title for those who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=UNDATED["svg"])
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"(\d\.\d\d)\d+(?=[^<>]*>)", r"\1", text)  # in tags alone: a hundredth of a point
    return text.replace(">", f' role="img"><title>{escape(title)}</title>', 1)


def write_panels(panels: Sequence[Panel], title: str, path: Path) -> None:
    """The panels two in a row, each with its own legend; one alone is wider."""
    columns = min(len(panels), 2)
    width = PANEL[0] * columns if columns > 1 else WIDE
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(map(measure_panel, row)) for row in rows]
    with open_figure(width, sum(heights)) as figure:
        places = figure.subfigures(len(rows), columns, squeeze=False, height_ratios=heights)
        for panel, place in zip(panels, places.flat, strict=False):
            axis = place.add_subplot()
            draw_panel(axis, panel)
            handles, labels = axis.get_legend_handles_labels()
            if handles:
                place.legend(handles, labels, loc="outside lower left")
        write_figure(figure, path, title)


def measure_panel(panel: Panel) -> float:
    """Its height in inches, legend included."""
    if isinstance(panel, Bars):
        return 1.1 + ROW * len(panel.bars) + 0.2 * any(bar.exact is not None for bar in panel.bars)
    return PANEL[1] + 0.18 * sum(bool(series.label) for series in panel.series)


def draw_panel(axis: Axes, panel: Panel) -> None:
    if isinstance(panel, Bars):
        draw_bars(axis, panel)
    else:
        draw_lines(axis, panel)


def draw_lines(axis: Axes, panel: Lines) -> None:
    axis.set_title(panel.title, wrap=True)
    axis.set_xlabel(panel.across)
    set_scale(axis, "x", panel.log_x)
    set_scale(axis, "y", panel.log_y)
    for place, series in enumerate(panel.series):
        number = place if series.number is None else series.number
        draw_series(axis, series, number, panel.log_y)
    if panel.limits:
        axis.set_ylim(*panel.limits)
    label_ticks(axis, "x")
    label_ticks(axis, "y")


def draw_series(axis: Axes, series: Series, number: int, log: bool) -> None:
    style, y = style_line(number), np.asarray(series.y, float)
    if len(series.low):
        low = cut_low_ends(series.low, y) if log else series.low
        axis.fill_between(series.x, low, series.high, color=style["color"], alpha=0.16, linewidth=0)
    if series.dashed or series.bare:
        style["marker"] = "none"
    if series.dashed or series.points:
        style["linestyle"] = (0, (1, 2)) if series.dashed else "none"
    widths = np.asarray(series.half_widths)
    below = y - cut_low_ends(y - widths, y) if log and len(widths) else widths
    errors = (below, widths) if len(widths) else None
    every = space_markers(len(series.x), number)
    label = series.label or "_"  # which no legend shows
    axis.errorbar(series.x, series.y, yerr=errors, label=label, markevery=every, elinewidth=1.2, **style)


def cut_low_ends(low: Numbers, y: np.ndarray) -> np.ndarray:
    """The lower ends of intervals on a logarithmic axis, which has no place for 0: at least y/1000; NaN where
    y has no place either.
    """
    return np.where(y > 0, np.maximum(low, y / DEEPEST), np.nan)


def style_line(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of a group, as matplotlib takes them."""
    colour, marker, dashes = choose_style(number)
    return {"color": colour, "marker": marker, "linestyle": (0, dashes) if dashes else "-"}


def space_markers(points: int, number: int) -> tuple[int, int]:
    """(first, step): all of few points, some of many, those of two curves at different places."""
    step = max(1, points // MARKS)
    return (number * step // 3 % step, step)


def draw_bars(axis: Axes, panel: Bars) -> None:
    """Whatever is no number, or has no place on a logarithmic axis, is left out."""
    axis.set_title(panel.title, wrap=True)
    axis.set_xlabel(panel.across)
    set_scale(axis, "x", panel.log)
    axis.grid(panel.log, axis="y")
    colour, marker, _ = choose_style(0)
    for row, bar in enumerate(panel.bars):
        if not math.isfinite(bar.value) or (panel.log and bar.value <= 0):
            continue
        if not panel.log:
            axis.barh(row, bar.value, height=0.6, color=colour, alpha=0.75)
        low, high = (max(end, bar.value / DEEPEST) if panel.log else end for end in bar.interval)
        ends = ([bar.value - low], [high - bar.value]) if high > low else None
        look = colour if panel.log else INK
        axis.errorbar(
            bar.value, row, xerr=ends, color=look, marker=marker if panel.log else "none", elinewidth=1.6
        )
    exact = [(bar.exact, row) for row, bar in enumerate(panel.bars) if bar.exact is not None]
    if exact:
        draw_diamonds(axis, exact, panel.marked)
    axis.set_yticks(range(len(panel.bars)), [bar.label for bar in panel.bars])
    axis.set_ylim(len(panel.bars) - 0.5, -0.5)
    label_ticks(axis, "x")


def draw_diamonds(axis: Axes, places: Sequence[tuple[float, float]], label: str) -> None:
    """Open ones, so that what lies below is seen."""
    style: Any = {"marker": "D", "markersize": 7, "fillstyle": "none", "markeredgewidth": 1.6, "zorder": 4}
    axis.plot(*zip(*places, strict=True), color=choose_style(1)[0], linestyle="none", label=label, **style)


def set_scale(axis: Axes, name: str, log: bool) -> None:
    if log:
        getattr(axis, f"set_{name}scale")("log", nonpositive="mask" if name == "y" else "clip")


def label_ticks(axis: Axes, name: str) -> None:
    """Round numbers in few characters, along x and y, on short logarithmic axes too."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

    one: Any = getattr(axis, f"{name}axis")
    if one.get_scale() == "log":
        low, high = sorted(one.get_view_interval())
        if high < 4 * low:
            one.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            one.set_minor_locator(NullLocator())
        elif high < 100 * low:
            one.set_major_locator(LogLocator(subs=(1, 2, 5)))
        one.set_minor_formatter(NullFormatter())
    else:
        one.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    one.set_major_formatter(lambda x, _: format_tick(x))


def format_tick(x: float) -> str:
    """20k, 1.5M, 0.05."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= power:
            return f"{x / power:.4g}{letter}"
    return f"{x:.3g}" if abs(x) >= 1e-3 or x == 0 else f"{x:.0e}".replace("e-0", "e-")


def add_shared_legend(figure: Figure, labels: Iterable[tuple[int, str]], columns: int) -> None:
    """One legend below all panels: (number, label) of each group."""
    from matplotlib.lines import Line2D

    shown = [(n, label if len(label) <= LEGEND else label[: LEGEND - 1] + "…") for n, label in labels]
    handles = [Line2D([], [], label=label, **style_line(number)) for number, label in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
