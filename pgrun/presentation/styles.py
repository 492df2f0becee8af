"""Colours, dashes and markers that tell groups apart, in colour and without."""

from __future__ import annotations

# Okabe and Ito 2008, without the yellow that white swallows; told apart by the colour-blind too (a test).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")
# The same, on a dark page.
DARK = ("#4fa8e0", "#f0803c", "#2cc499", "#e39ccb", "#9ad4f7", "#f7cf52", "#e6e6e6")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))  # one round of colours each
INK, FAINT, GRID = "#333333", "#808080", "#e6e6e6"


def choose_style(number: int) -> tuple[str, str, tuple[float, ...]]:
    """(colour, marker, dashes) of a group: all three are repeated after 28 groups, a colour after seven."""
    rounds = number // len(COLOURS)
    marker = MARKERS[(number + rounds) % len(MARKERS)]
    return COLOURS[number % len(COLOURS)], marker, DASHES[rounds % len(DASHES)]
