"""study.png: the variance of every scheme, with its interval, and beside it how far
from ∇J a single estimate is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgrun.presentation.panels import Bar, Bars
from pgrun.presentation.plotting import write_panels


def draw_study(result: Mapping[str, Any], path: Path) -> None:
    """Least variance first. A scheme without any has no place on a logarithmic axis."""
    ordered = sorted(result["schemes"].items(), key=lambda item: item[1]["variance"])
    bars = [
        Bar(label, e["variance"], exact=e["mse"], ends=(e["variance_low"], e["variance_high"]))
        for label, e in ordered
        if e["variance"] > 0
    ]
    title = f"{result['env']}: how much one estimate of the gradient varies, critic {result['critic']}"
    across = f"variance of one estimate ({result['batch']} episodes), with its 95 % interval"
    if bars:
        write_panels([Bars(title, across, bars, log=True, marked="mean squared error")], title, path)
