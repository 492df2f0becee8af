"""What the pictures share: curves over environment steps, bars of a study, and exact
values to set beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from moments import variances

from pgrun.config.schema import construct_from_settings
from pgrun.envs import EnvSettings
from pgrun.envs.make import make_one
from pgrun.exact import read_problem
from pgrun.tools.study.policy import freeze_policy

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
BINS = 25
FLOOR = 1e-6  # of a logarithmic axis: a policy that has stopped moving makes a KL of rounding errors


def canvas(columns: int, height: float = 3.4, width: float = 4.2) -> tuple[Any, list[Axes]]:
    figure, axes = plt.subplots(
        1, columns, figsize=(width * columns, height), layout="constrained", squeeze=False
    )
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[0])


def grouped(runs: Iterable[Any], *keys: str) -> dict[str, list[Any]]:
    """Runs that differ in the seed alone, by the values of ``keys``."""
    found: dict[str, list[Any]] = {}
    for run in runs:
        found.setdefault(" ".join(run.words[key] for key in keys), []).append(run)
    return found


def curves(axis: Axes, groups: Mapping[str, Sequence[Any]], scalar: str, log: bool = False) -> None:
    """Every seed thin, their mean thick: over 1/25 of the steps, then over seeds, as
    far as all of them go.
    """
    for colour, (label, runs) in zip(COLOURS, groups.items(), strict=False):
        tracks = [track(run, scalar) for run in runs]
        for x, y in tracks:
            axis.plot(x, y, color=colour, linewidth=0.7, alpha=0.4)
        edges = np.linspace(0, max(x[-1] for x, _ in tracks), BINS + 1)
        centres = (edges[:-1] + edges[1:]) / 2
        mean = np.mean([binned(x, y, edges, centres) for x, y in tracks], 0)
        axis.plot(centres, mean, color=colour, linewidth=2.2, label=label)
    axis.set_xlabel("environment steps")
    axis.set_title(scalar, fontsize=10)
    axis.locator_params(axis="x", nbins=5)
    if log:
        axis.set_yscale("log")
        axis.set_ylim(bottom=max(axis.get_ylim()[0], FLOOR))


def track(run: Any, scalar: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = run.metrics["env_steps"], run.metrics[scalar]
    return x[~np.isnan(y)], y[~np.isnan(y)]


def binned(x: np.ndarray, y: np.ndarray, edges: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Means over the bins, NaN before the first and after the last that has a row."""
    at = np.clip(np.searchsorted(edges, x) - 1, 0, BINS - 1)
    filled = np.unique(at)
    means = [y[at == i].mean() for i in filled]
    return np.interp(centres, centres[filled], means, left=np.nan, right=np.nan)


def legend(axis: Axes, **more: Any) -> None:
    axis.legend(frameon=False, fontsize=8, **more)


def bars(
    axis: Axes, run: Any, title: str, known: Mapping[str, float] | None = None, log: bool = False
) -> None:
    """Variance of each scheme of a study with its 95 % interval, top to bottom as
    listed; ``known``: exact values.
    """
    entries = run.result["schemes"]
    at = {label: -i for i, label in enumerate(entries)}
    v = np.array([e["variance"] for e in entries.values()])
    ends = [
        v - [e["variance_low"] for e in entries.values()],
        [e["variance_high"] for e in entries.values()] - v,
    ]
    style = {"capsize": 3, "ecolor": "#222", "elinewidth": 1.2}
    axis.barh(list(at.values()), v, height=0.62, color=COLOURS[0], alpha=0.85, xerr=ends, error_kw=style)
    if known:
        shown = [(known[label], at[label]) for label in at if label in known]
        axis.plot(*zip(*shown, strict=True), "D", color=COLOURS[1], markersize=6, label="exact", zorder=3)
        legend(axis, loc="best")
    axis.set_yticks(list(at.values()), [label.replace("optimal_baseline ", "… ") for label in at])
    axis.set_title(title, fontsize=10)
    if not log:
        axis.locator_params(axis="x", nbins=5)
    axis.set_xlabel(f"variance of ĝ ({run.result['batch']} episodes)")
    if log:
        axis.set_xscale("log")
        axis.set_xlim(left=10 ** np.floor(np.log10(min(e["variance_low"] for e in entries.values()))))
        axis.xaxis.set_minor_formatter(NullFormatter())


def exact(run: Any) -> dict[str, float]:
    """The exact variances for the policy and the batch of a study on a tabular problem."""
    settings = {**run.result["settings"], "modules": []}
    env = make_one(construct_from_settings(EnvSettings, settings["env"]))
    torch.set_grad_enabled(False)
    policy, _ = freeze_policy(settings, None, env, torch.Generator().manual_seed(0))
    return variances(env, policy, read_problem(env), settings["batch"])


def entries(runs: Iterable[Any], scheme: str, field: str) -> np.ndarray:
    """One number of one scheme from each study."""
    return np.array([run.result["schemes"][scheme][field] for run in runs])


def whiskers(
    axis: Axes, x: Sequence[float], runs: Sequence[Any], scheme: str, times: Any = 1.0, **style: Any
) -> None:
    """Variances of one scheme against x, with their intervals."""
    v, low, high = (times * entries(runs, scheme, f) for f in ("variance", "variance_low", "variance_high"))
    axis.errorbar(x, v, yerr=[v - low, high - v], capsize=3, **style)
