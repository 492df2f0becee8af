"""Pictures as SVG in our own few lines: they need no library, and a browser or a Markdown page shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from pgrun.analysis.compare.axes import choose_log_ticks, choose_ticks, format_tick
from pgrun.analysis.compare.svg import choose_style

WIDTH, HEIGHT = 430, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 34, 46
LINE = 16  # of the legend
CHARACTER = 6.6  # mean width in pixels at 12 px
LOOK = (
    "text{font:12px system-ui,sans-serif;fill:#444}.head{font-size:14px;font-weight:600;fill:#222}"
    ".grid{stroke:#e8e8e8;fill:none}.axis{stroke:#888;fill:none}"
)


@dataclass(frozen=True)
class Series:
    """Points (x, y), joined by a line unless ``points``; ``error``: half of a bar through each; ``dashed``:
    what is expected.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = ()
    points: bool = False
    dashed: bool = False
    bare: bool = False  # a line without its points


@dataclass(frozen=True)
class Lines:
    """Curves over a common axis."""

    title: str
    across: str  # what x is
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    error: float = 0.0  # half of the bar through its end
    exact: float | None = None  # marked by a diamond


@dataclass(frozen=True)
class Bars:
    """A bar a row, top to bottom."""

    title: str
    across: str
    bars: Sequence[Bar]
    log: bool = False


Panel = Lines | Bars


def render_picture(panels: Sequence[Panel], title: str) -> str:
    """The panels side by side, two in a row."""
    drawn = [render_panel(panel) for panel in panels]
    columns = min(len(drawn), 2)
    rows = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    body, down = [], 0
    for row in rows:
        body += [
            f'<g transform="translate({i * WIDTH} {down})">{part}</g>' for i, (part, _) in enumerate(row)
        ]
        down += max(height for _, height in row)
    size = f'width="{columns * WIDTH}" height="{down}" viewBox="0 0 {columns * WIDTH} {down}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
        f'role="img"><title>{escape(title)}</title><style>{LOOK}</style><rect width="100%" height="100%" '
        f'fill="#fff"/>{"".join(body)}</svg>\n'
    )


def render_panel(panel: Panel) -> tuple[str, int]:
    """(SVG, its height)"""
    return render_lines(panel) if isinstance(panel, Lines) else render_bars(panel)


@dataclass(frozen=True)
class Axis:
    """Data → pixels along one direction."""

    low: float
    high: float
    start: float
    length: float
    log: bool

    @staticmethod
    def over(values: Sequence[float], start: float, length: float, log: bool) -> Axis:
        usable = [math.log10(x) if log else x for x in values if math.isfinite(x) and (x > 0 or not log)]
        low, high = (min(usable), max(usable)) if usable else (0.0, 1.0)
        room = 0.05 * (high - low) or 0.5
        return Axis(low - room, high + room, start, length, log)

    def at(self, x: float) -> float:
        if self.log:
            x = math.log10(x) if x > 0 else self.low - 1
        return self.start + self.length * min(max((x - self.low) / (self.high - self.low), -0.5), 1.5)

    def marks(self) -> Iterator[tuple[float, str]]:
        if self.log and self.high - self.low > 0.9:
            yield from ((self.at(10**t), format_tick(10**t)) for t in choose_log_ticks(self.low, self.high))
        elif self.log:
            low, high = 10**self.low, 10**self.high
            yield from ((self.at(t), format_tick(t)) for t in choose_ticks(low, high, 4) if t > 0)
        else:
            yield from ((self.at(t), format_tick(t)) for t in choose_ticks(self.low, self.high, 5))


def render_frame(title: str, across: str, x: Axis, y: Axis | None, bottom: float) -> str:
    wide = WIDTH - LEFT - RIGHT
    parts = [f'<text class="head" x="8" y="20">{escape(title)}</text>']
    for at, label in x.marks():
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    for at, label in y.marks() if y else ():
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}h{wide}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    middle = x.start + x.length / 2
    parts.append(f'<text x="{middle:.1f}" y="{bottom + 34}" text-anchor="middle">{escape(across)}</text>')
    return "".join(parts)


def render_lines(panel: Lines) -> tuple[str, int]:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    x = Axis.over([v for s in panel.series for v in s.x], LEFT, wide, panel.log_x)
    y = Axis.over(
        [v for s in panel.series for v in iterate_y_values(s, panel.log_y)], TOP + high, -high, panel.log_y
    )
    body = [
        render_frame(panel.title, panel.across, x, y, TOP + high),
        f'<path class="axis" d="M{LEFT} {TOP}v{high}h{wide}"/>',
    ]
    body += [render_curve(s, n, x, y) for n, s in enumerate(panel.series)]
    labelled = [(n, s) for n, s in enumerate(panel.series) if s.label]
    down = HEIGHT + 4
    for n, s in labelled:
        body.append(render_legend_sample(s, n, down))
        body.append(f'<text x="{LEFT + 28}" y="{down + 4}">{escape(s.label)}</text>')
        down += LINE
    return "".join(body), down + 6


def render_legend_sample(series: Series, number: int, down: int) -> str:
    """What stands for a curve beside its name."""
    if series.points:
        return f'<circle cx="{LEFT + 11}" cy="{down}" r="3" fill="{choose_style(number)[0]}"/>'
    return f'<path d="M{LEFT} {down}h22" {format_stroke(number, series.dashed)}/>'


def iterate_y_values(series: Series, log: bool) -> Iterator[float]:
    """The values, and on a linear axis the ends of the bars through them."""
    yield from series.y
    for y, error in zip(series.y, series.error, strict=False):
        yield from () if log else (y - error, y + error)


def format_stroke(number: int, dashed: bool) -> str:
    colour, dashes = choose_style(number)
    dashes = "2 4" if dashed else dashes
    return f'fill="none" stroke="{colour}" stroke-width="2"' + (
        f' stroke-dasharray="{dashes}"' if dashes else ""
    )


def render_curve(series: Series, number: int, x: Axis, y: Axis) -> str:
    colour, _ = choose_style(number)
    there = [(x.at(a), y.at(b)) for a, b in zip(series.x, series.y, strict=True) if math.isfinite(b)]
    parts = []
    if not series.points and there:
        parts.append(
            f'<path d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in there)}" '
            f"{format_stroke(number, series.dashed)}/>"
        )
    if not (series.dashed or series.bare):
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in there]
    for a, b, e in zip(series.x, series.y, series.error, strict=False):
        parts.append(f'<path d="M{x.at(a):.1f} {y.at(b - e):.1f}V{y.at(b + e):.1f}" stroke="{colour}"/>')
    return "".join(parts)


def render_bars(panel: Bars) -> tuple[str, int]:
    left = min(16 + CHARACTER * max(len(b.label) for b in panel.bars), WIDTH / 2)
    tall, wide = 26 * len(panel.bars), WIDTH - left - RIGHT - 40
    ends = [v for b in panel.bars for v in (b.value - b.error, b.value + b.error, b.exact) if v is not None]
    x = Axis.over([*ends, *(() if panel.log else (0.0,))], left, wide, panel.log)
    bottom = TOP + tall
    zero = x.at(0.0) if not panel.log else left
    body = [
        render_frame(panel.title, panel.across, x, None, bottom),
        f'<path class="axis" d="M{zero:.1f} {TOP}V{bottom}"/>',
    ]
    for n, b in enumerate(panel.bars):
        y, end = TOP + 26 * n + 13, x.at(b.value) if b.value > 0 or not panel.log else left
        body.append(f'<text x="{left - 8:.1f}" y="{y + 4}" text-anchor="end">{escape(b.label)}</text>')
        body.append(
            f'<rect x="{min(zero, end):.1f}" y="{y - 8}" width="{abs(end - zero):.1f}" height="16" '
            f'fill="{choose_style(0)[0]}" opacity="0.75"/>'
        )
        if b.error:
            body.append(
                f'<path d="M{x.at(b.value - b.error):.1f} {y}H{x.at(b.value + b.error):.1f}" stroke="#111" '
                'stroke-width="2"/>'
            )
        if b.exact is not None:
            at = x.at(b.exact)
            body.append(
                f'<path d="M{at:.1f} {y - 7}l6 7l-6 7l-6 -7z" fill="none" stroke="{choose_style(1)[0]}" '
                'stroke-width="2"/>'
            )
    down = int(bottom + 50)
    if any(b.exact is not None for b in panel.bars):
        body.append(
            f'<path d="M{left + 6:.1f} {down - 3}l6 7l-6 7l-6 -7z" fill="none" stroke="{choose_style(1)[0]}" '
            'stroke-width="2"/>'
        )
        body.append(f'<text x="{left + 18:.1f}" y="{down + 8}">exact</text>')
        down += LINE
    return "".join(body), down + 6
