"""The lecture's two pictures: distance in parameters is not distance of policies, and
what that does to plain steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from drawing import BLUE, GREEN, RED, YELLOW, canvas, curves, grouped, legend

from pgrun.envs.problems.teaching_continuous import LinearQuadratic
from pgrun.presentation.plotting import label_ticks
from pgrun.presentation.styles import INK

LQ, HORIZON = LinearQuadratic(), 20
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (∇J, the diagonal of F) -> Δθ


def euclidean_pg(runs: list[list[Any]]):
    """N(0, σ²) and N(1, σ²) for both σ, and the KL that pgrun's two kinds of step made from there."""
    figure, axes = canvas(3, 3.2)
    sigmas = (0.3, 3.0)
    for axis, sigma in zip(axes, sigmas, strict=False):
        x = np.linspace(-3 * sigma, 1 + 3 * sigma, 300)
        for mean, colour in ((0, BLUE), (1, RED)):
            axis.fill_between(x, np.exp(-(((x - mean) / sigma) ** 2) / 2), color=colour, alpha=0.45)
        axis.set_yticks([])
        axis.set_xlabel("action")
        axis.set_title(f"σ = {sigma:g}: KL = 1/(2σ²) = {1 / (2 * sigma**2):.4f}")
    for look, label, one in zip("os", ("‖Δθ‖ = 1", "natural step, KL 0.5"), runs, strict=True):
        colour = RED if look == "o" else BLUE
        for sigma, (_, seeds) in zip(sigmas, grouped(one, "network.log_std").items(), strict=True):
            made = [run.metrics["step/kl_realised"][0] for run in seeds]
            name = label if sigma == sigmas[0] else None
            axes[2].plot([sigma] * len(made), made, look, color=colour, alpha=0.7, label=name)
    fine = np.geomspace(0.2, 4.5, 50)
    axes[2].plot(fine, 1 / (2 * fine**2), ":", color=RED, label="1/(2σ²)")
    axes[2].set_xscale("log")
    axes[2].set_yscale("log")
    label_ticks(axes[2], "y")
    axes[2].set_xticks(sigmas, [f"{sigma:g}" for sigma in sigmas])
    axes[2].set_xticks([], minor=True)
    axes[2].set_xlabel("σ")
    axes[2].set_title("KL that the step made (step/kl_realised)")
    legend(axes[2])
    return figure


def plain(alpha: float) -> Rule:
    return lambda g, f: alpha * g


def natural(delta: float) -> Rule:
    return lambda g, f: np.sqrt(2 * delta / (g @ (g / f))) * g / f


def walk(rule: Rule, steps: int, k: float = 0.0, log_sigma: float = np.log(0.3)) -> np.ndarray:
    """θ = (k, log σ) after 0 … steps exact steps; it ends where k leaves the picture."""
    path = [np.array([k, log_sigma])]
    for _ in range(steps):
        k, sigma = path[-1][0], np.exp(path[-1][1])
        by_k, by_sigma = LQ.gradient(k, sigma, 1.0, HORIZON)
        curvature = np.array([LQ.fisher(k, sigma, HORIZON)[0], 2.0])
        path.append(path[-1] + rule(np.array([by_k, sigma * by_sigma]), curvature))
        if abs(path[-1][0]) > 3:
            break
    return np.array(path)


def npg(runs: list[list[Any]]):
    """Exact steps on the exact J of LQ1, and sampled ones."""
    figure, (left, middle, right) = canvas(3, 3.6)
    k, log_sigma = np.meshgrid(np.linspace(-2.4, 0.6, 120), np.linspace(-3.2, -0.9, 100))
    loss = -LQ.objective(k, np.exp(log_sigma), 1.0, HORIZON)
    left.contourf(
        k, log_sigma, np.log10(loss), np.linspace(0.2, 4, 20), cmap="Greys", extend="both", alpha=0.6
    )
    for colour, label, rule in (
        (BLUE, "plain, α = 0.0001", plain(1e-4)),
        (RED, "plain, α = 0.002", plain(2e-3)),
        (YELLOW, "plain, α = 0.0033", plain(3.3e-3)),
        (GREEN, "natural, KL 0.05", natural(0.05)),
    ):
        path = walk(rule, 20)
        left.plot(*path.T, "o-", color=colour, markersize=3, linewidth=1.2, label=label)
    left.plot(-0.618, -3.15, "*", color=INK, markersize=9)
    left.set_xlim(-2.4, 0.6)
    left.set_ylim(-3.2, -0.9)
    left.set_xlabel("k")
    left.set_ylabel("log σ")
    left.set_title("20 exact steps; darker is a lower J")
    legend(left, loc="lower left")
    names = {f"plain, α = {float(a):g}": v for a, v in grouped(runs[0], "optimizer.lr").items()}
    keyed = {**names, "natural, KL 0.05": runs[1]}
    for axis, scalar in ((middle, "return/train"), (right, "kl/old_new")):
        curves(axis, keyed, scalar, log=scalar.startswith("kl"))
    middle.set_yscale("symlog", linthresh=1)
    middle.set_yticks([-40, -20, -10, -5, -3, -2], ["−40", "−20", "−10", "−5", "−3", "−2"])
    legend(middle)
    return figure
