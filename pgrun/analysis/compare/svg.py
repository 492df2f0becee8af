"""A panel as SVG, in our own few lines: a page needs no library and no network."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from pgrun.analysis.compare.axes import choose_log_ticks, choose_ticks, find_y_limits, format_tick
from pgrun.analysis.compare.curves import Curve, Panel

COLOURS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#44aadd", "#882255", "#44aa99", "#999933", "#aa4499")
DASHES = ("", "7 3", "2 3", "9 3 2 3")  # one round of colours each
WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 30, 42


def choose_style(number: int) -> tuple[str, str]:
    """(colour, dashes) of a group."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def render_svg(panel: Panel, title: str, name: str) -> str:
    """``name``: an id for the clipping path, unique on the page."""
    frame = Frame(panel)
    body = [*frame.grid(), f'<g clip-path="url(#{name})">']
    body += [frame.band(curve) for curve in panel.curves] + [frame.line(curve) for curve in panel.curves]
    body.append("</g>")
    clip = (
        f'<clipPath id="{name}"><rect x="{LEFT}" y="{TOP}" width="{frame.w}" height="{frame.h}"/></clipPath>'
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title>{clip}"
        f'<text class="head" x="{LEFT}" y="18">{escape(title)}</text>{"".join(body)}'
        f'<text x="{LEFT + frame.w / 2}" y="{HEIGHT - 6}" text-anchor="middle">environment steps</text></svg>'
    )


class Frame:
    """Data → pixels."""

    def __init__(self, panel: Panel):
        self.log = panel.log
        self.low, self.high = find_y_limits(panel)
        self.end = max(float(curve.steps[-1]) for curve in panel.curves)
        self.w, self.h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(self, steps: np.ndarray) -> np.ndarray:
        return LEFT + self.w * steps / self.end

    def y(self, values: np.ndarray) -> np.ndarray:
        if self.log:
            values = np.log10(np.maximum(values, 10.0 ** (self.low - 1)))
        height = TOP + self.h * (self.high - values) / (self.high - self.low)
        return np.clip(height, -HEIGHT, 2 * HEIGHT)

    def line(self, curve: Curve) -> str:
        colour, dashes = choose_style(curve.number)
        return (
            f'<path d="M{format_svg_points(self.x(curve.steps), self.y(curve.middle))}" fill="none" '
            f'stroke="{colour}" '
            'stroke-width="2" '
            f'stroke-linejoin="round"{f" stroke-dasharray={chr(34)}{dashes}{chr(34)}" if dashes else ""}>'
            f"<title>{escape(curve.label)}</title></path>"
        )

    def band(self, curve: Curve) -> str:
        there = ~np.isnan(curve.low)
        if not there.any():
            return ""
        x = self.x(curve.steps[there])
        there_and_back = np.concatenate([x, x[::-1]])
        y = np.concatenate([self.y(curve.high[there]), self.y(curve.low[there])[::-1]])
        return (
            f'<path d="M{format_svg_points(there_and_back, y)}Z" fill="{choose_style(curve.number)[0]}" '
            'opacity="0.16"/>'
        )

    def grid(self) -> Iterable[str]:
        at = choose_log_ticks(self.low, self.high) if self.log else choose_ticks(self.low, self.high)
        for value in at:
            y = TOP + self.h * (self.high - value) / (self.high - self.low)
            label = format_tick(10**value if self.log else value)
            yield f'<path class="grid" d="M{LEFT} {y:.1f}h{self.w}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        for value in choose_ticks(0, self.end):
            x = LEFT + self.w * value / self.end
            yield (
                f'<text x="{x:.1f}" y="{TOP + self.h + 16}" text-anchor="middle">{format_tick(value)}</text>'
            )
        yield f'<path class="axis" d="M{LEFT} {TOP}v{self.h}h{self.w}"/>'


def format_svg_points(x: np.ndarray, y: np.ndarray) -> str:
    return "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def render_swatch(number: int) -> str:
    """A group's line, for a legend."""
    colour, dashes = choose_style(number)
    return (
        f'<svg width="30" height="10" aria-hidden="true"><path d="M1 5h28" stroke="{colour}" stroke-width="3"'
        f"{f' stroke-dasharray={chr(34)}{dashes}{chr(34)}' if dashes else ''}/></svg>"
    )
