"""study.png: the variance of every scheme, with its interval, and beside it how far
from ∇J a single estimate is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgrun.atomic_files import replace_file


def draw_study(result: Mapping[str, Any], path: Path) -> None:
    """Needs matplotlib; imported here, since it takes half a second."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    ordered = sorted(result["schemes"].items(), key=lambda item: -item[1]["variance"])
    ordered = [(label, entry) for label, entry in ordered if entry["variance"] > 0]
    if not ordered:
        return
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.42 * len(ordered)), layout="constrained")
    at = range(len(ordered))
    variance = [entry["variance"] for _, entry in ordered]
    below = [entry["variance"] - entry["variance_low"] for _, entry in ordered]
    above = [entry["variance_high"] - entry["variance"] for _, entry in ordered]
    axis.barh(
        at,
        variance,
        height=0.62,
        color="#4c78a8",
        xerr=(below, above),
        error_kw={"capsize": 5, "ecolor": "#111", "zorder": 3},
    )
    mse = [max(entry["mse"], 1e-300) for _, entry in ordered]
    axis.plot(mse, list(at), "D", color="#e45756", fillstyle="none", markersize=7, label="mean squared error")
    axis.set_xscale("log")
    low = min(min(e["variance_low"] for _, e in ordered), min(x for x in mse if x > 1e-300))
    axis.set_xlim(left=low / 2)
    axis.set_yticks(list(at), [label for label, _ in ordered])
    axis.set_xlabel(f"variance of one estimate ({result['batch']} episodes), with 95 % interval")
    title = f"{result['env']} · {result['estimates']} estimates · critic {result['critic']}"
    axis.set_title(title, fontsize=11, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98))
    replace_file(path, lambda file: figure.savefig(file, dpi=130, format="png"))
    plt.close(figure)
