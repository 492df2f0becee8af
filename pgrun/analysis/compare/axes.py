"""Where an axis begins and ends, and what stands on it."""

from __future__ import annotations

import math

import numpy as np

from pgrun.analysis.compare.curves import Panel

SLACK = 0.4  # of the curves' own range: how far a wide interval may stretch the axis


def find_y_limits(panel: Panel) -> tuple[float, float]:
    """(low, high) of the y axis, in log₁₀ on a logarithmic one: all curves, and their intervals unless those
    are very wide.
    """
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
    return least - edge, greatest + edge


def choose_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers in between: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def choose_log_ticks(low: float, high: float) -> list[float]:
    """Whole powers of ten, as exponents."""
    first, last = math.ceil(low), math.floor(high)
    return [float(i) for i in range(first, last + 1, max(1, (last - first) // 5))]


def format_tick(x: float) -> str:
    """20k, 1.5M, 0.05."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= power:
            return f"{x / power:.4g}{letter}"
    return f"{x:.3g}" if abs(x) >= 1e-3 or x == 0 else f"{x:.0e}".replace("e-0", "e-")
