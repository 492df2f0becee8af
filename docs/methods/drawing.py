"""What the pictures share: curves over environment steps, bars of a study, and exact
values to set beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from moments import variances

from pgrun.analysis.compare.picture import title_of
from pgrun.config.schema import construct_from_settings
from pgrun.envs import EnvSettings
from pgrun.envs.make import make_one
from pgrun.exact import read_problem
from pgrun.presentation.panels import Bar, Bars
from pgrun.presentation.plotting import draw_panel, label_ticks, style_line
from pgrun.presentation.styles import COLOURS
from pgrun.tools.study.policy import freeze_policy

BLUE, RED, GREEN, PINK, SKY, YELLOW, GREY = COLOURS
BINS = 25
FLOOR = 1e-6  # of a logarithmic axis: a policy that has stopped moving makes a KL of rounding errors


def canvas(columns: int, height: float = 3.4, width: float = 4.2) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * columns, height))
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def grouped(runs: Iterable[Any], *keys: str) -> dict[str, list[Any]]:
    """Runs that differ in the seed alone, by the values of ``keys``."""
    collected: dict[str, list[Any]] = {}
    for run in runs:
        collected.setdefault(" ".join(run.words[key] for key in keys), []).append(run)
    return collected


def curves(axis: Axes, groups: Mapping[str, Sequence[Any]], scalar: str, log: bool = False) -> None:
    """Every seed thin, their mean thick: over 1/25 of the steps, then over seeds, as
    far as all of them go.
    """
    for number, (label, runs) in enumerate(groups.items()):
        style = style_line(number)
        tracks = [track(run, scalar) for run in runs]
        for x, y in tracks:
            axis.plot(x, y, color=style["color"], linewidth=0.7, alpha=0.3)
        edges = np.linspace(0, max(x[-1] for x, _ in tracks), BINS + 1)
        centres = (edges[:-1] + edges[1:]) / 2
        mean = np.mean([binned(x, y, edges, centres) for x, y in tracks], 0)
        axis.plot(centres, mean, linewidth=2.2, label=label, markevery=(2 * number % 5, 5), **style)
    axis.set_xlabel("environment steps")
    axis.set_title(title_of(scalar))
    if log:
        axis.set_yscale("log")
        axis.set_ylim(bottom=max(axis.get_ylim()[0], FLOOR))
    label_ticks(axis, "x")
    label_ticks(axis, "y")


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
    axis.legend(fontsize=8, **more)


def bars(
    axis: Axes, run: Any, title: str, known: Mapping[str, float] | None = None, log: bool = False
) -> None:
    """Variance of each scheme of a study with its 95 % interval, top to bottom as
    listed; ``known``: exact values.
    """
    collected = [
        Bar(
            label.replace("optimal_baseline ", "… "),
            e["variance"],
            exact=(known or {}).get(label),
            ends=(e["variance_low"], e["variance_high"]),
        )
        for label, e in run.result["schemes"].items()
    ]
    draw_panel(axis, Bars(title, f"variance of ĝ ({run.result['batch']} episodes)", collected, log))
    if known:
        legend(axis, loc="best")


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
