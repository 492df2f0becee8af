"""One function a page: from the results of its commands to its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from drawing import BLUE, GREEN, RED, bars, canvas, curves, entries, exact, grouped, legend, whiskers
from landscapes import euclidean_pg, npg

from pgrun.presentation.plotting import label_ticks, set_look, style_line, write_figure
from pgrun.presentation.styles import FAINT, INK

Runs = list[list[Any]]


def draw(page: str, runs: Runs, path: Path) -> None:
    with set_look():
        write_figure(DRAWN[page](runs), path, page)


def number(run: Any, key: str) -> float:
    return float(run.words[key])


def reinforce(runs: Runs):
    figure, (left, right) = canvas(2)
    groups = {f"N = {n}": one for n, one in grouped(runs[0], "sampler.episodes").items()}
    curves(left, groups, "return/train")
    curves(right, groups, "kl/old_new", log=True)
    legend(left)
    return figure


def reward_to_go(runs: Runs):
    figure, axes = canvas(3, 2.3)
    for axis, (run,) in zip(axes, runs, strict=True):
        name = run.result["env"]
        bars(axis, run, name, exact(run) if name.startswith("pgrun/") else None)
    return figure


def mean_baseline(runs: Runs):
    figure, (axis,) = canvas(1, width=5.5)
    c = [number(run, "env.kwargs.return_offset") for run in runs[0]]
    n = runs[0][0].result["batch"]
    for place, scheme in enumerate(("none", "mean_baseline")):
        whiskers(axis, c, runs[0], scheme, label=scheme, **{**style_line(place), "linestyle": "none"})
    fine = np.linspace(min(c), max(c), 100)
    axis.plot(c, [exact(run)["mean_baseline"] for run in runs[0]], color=RED, label="mean_baseline, exact")
    axis.plot(
        fine, (64 + 8 * (fine + 4) ** 2) / 8 / n, color=BLUE, label="none, exact: (64 + 8(c + 4)²)/(8N)"
    )
    axis.set_xlabel("offset c of every return")
    axis.set_title(f"variance of ĝ ({n} episodes), OneState at θ = 0.5")
    axis.set_ylim(bottom=0)
    legend(axis)
    return figure


def leave_one_out(runs: Runs):
    figure, (left, right) = canvas(2)
    n = np.array([run.result["batch"] for run in runs[0]])
    norm = runs[0][0].result["reference_norm"]
    left.plot(n, 1 / n, color=FAINT, label="1/N")
    for place, scheme in enumerate(("leave_one_out", "mean_baseline")):
        style = style_line(place)
        bias = entries(runs[0], scheme, "bias_norm") / norm
        left.plot(n, bias, label=scheme, **{**style, "linestyle": "none"})
        noise = entries(runs[0], scheme, "bias_noise") / norm
        left.plot(n, noise, ":", color=style["color"], label="what noise alone makes")
        right.plot(n, entries(runs[0], scheme, "mse"), label=scheme, **style)
    left.set_title("‖mean of ĝ − ∇J‖/‖∇J‖")
    right.set_title("mean squared error of ĝ")
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        label_ticks(axis, "y")
        axis.set_xticks(n, [str(x) for x in n])
        axis.set_xlabel("episodes of an estimate, N")
        legend(axis)
    return figure


def optimal_baseline(runs: Runs):
    figure, (left, right) = canvas(2, width=5)
    n = np.array([run.result["batch"] for run in runs[0]])
    for place, (scheme, level, what) in enumerate(
        (("optimal_baseline", 64, "b* known"), ("leave_one_out", 136, "mean return known"))
    ):
        style = style_line(place)
        whiskers(left, n, runs[0], scheme, times=8 * n, label=scheme, **style)
        left.axhline(level, color=style["color"], linestyle=":", label=f"{what}: {level}")
    left.set_xscale("log")
    left.set_xticks(n, [str(x) for x in n])
    left.set_xticks([], minor=True)
    left.set_ylim(bottom=0)
    left.set_xlabel("episodes of an estimate, N")
    left.set_title("N · variance of ĝ, in θ: OneState at θ = 0.5")
    legend(left)
    known = exact(runs[1][0])
    bars(
        right,
        runs[1][0],
        "SmallMDP, 8 logits",
        {"leave_one_out": known["leave_one_out"], "none": known["none"]},
    )
    right.plot(known["optimal_baseline"], 2, "|", color=RED, markersize=16, markeredgewidth=2)
    return figure


def value_baseline(runs: Runs):
    figure, (left, middle, right) = canvas(3)
    groups = grouped(runs[0], "variance")
    curves(left, groups, "return/train")
    curves(middle, groups, "gradient/variance", log=True)
    legend(left)
    bars(right, runs[1][0], "Mismatch", exact(runs[1][0]))
    return figure


def q(runs: Runs):
    figure, axes = canvas(3, 2.8)
    for axis, (run,) in zip(axes, runs, strict=True):
        name = run.result["env"]
        known = exact(run)
        bars(axis, run, name, known | {"advantage": known["td0"]} if "OneState" in name else known)
    return figure


def stacked(axis: Any, at: float, entry: dict[str, float], colours: tuple[str, str], label: bool) -> None:
    """Variance below, squared bias on top; less what the noise of the mean contributes to it."""
    bias = max(entry["mse"] - entry["variance"], 0.0)
    names = ("variance", "bias²") if label else (None, None)
    axis.bar(at, entry["variance"], 0.7, color=colours[0], label=names[0])
    axis.bar(at, bias, 0.7, bottom=entry["variance"], color=colours[1], label=names[1])


def td0(runs: Runs):
    figure, (axis,) = canvas(1, width=5.5)
    cells = [(run, scheme) for run in runs[0] for scheme in ("value_baseline", "td0")]
    for i, (run, scheme) in enumerate(cells):
        stacked(axis, i + 0.6 * (i > 1), run.result["schemes"][scheme], (BLUE, RED), i == 0)
    names = [f"{scheme}\n{run.words['critic']} critic" for run, scheme in cells]
    axis.set_xticks([0, 1, 2.6, 3.6], names, fontsize=8)
    axis.set_title("mean squared error of ĝ (100 episodes), OneState at θ = 0.9")
    legend(axis)
    return figure


def critics(runs: Runs):
    figure, (left, right) = canvas(2, width=5)
    schemes = ("value_baseline", "gae", "td0")
    norm = runs[0][0].result["reference_norm"]
    for place, scheme in enumerate(schemes):
        style = {**style_line(place), "linestyle": "none"}
        at = np.arange(len(runs[0])) + 0.2 * (place - 1)
        left.plot(at, entries(runs[0], scheme, "bias_norm") / norm, label=scheme, **style)
        noise = entries(runs[0], scheme, "bias_noise") / norm
        left.plot(at, noise, "_", color=INK, markersize=12, label="noise alone" if place == 2 else None)
        whiskers(right, at, runs[0], scheme, label=scheme, **style)
    for axis in (left, right):
        axis.set_xticks(range(len(runs[0])), [run.words["critic"] for run in runs[0]])
        axis.set_xlabel("critic")
        axis.set_yscale("log")
        label_ticks(axis, "y")
    left.set_title("‖mean of ĝ − ∇J‖/‖∇J‖")
    right.set_title("variance of ĝ (100 episodes)")
    legend(left)
    return figure


def n_step(runs: Runs):
    figure, (axis,) = canvas(1, width=5.5)
    (run,) = runs[0]
    names = list(run.result["schemes"])
    n = np.array([int(name.split("=")[1]) for name in names])
    field = {f: np.array([run.result["schemes"][x][f] for x in names]) for f in ("variance", "mse")}
    theta, gap = 0.9, 0.2 * 0.9 / 0.1  # D = V̂ − V
    fine = np.geomspace(1, n[-1], 100)
    share = np.sqrt(2) * theta * (1 - theta)  # ‖∇‖ in two logits of 1 in θ
    axis.plot(
        fine, (share * gap * theta ** (fine - 1) / (1 - theta)) ** 2, "--", color=RED, label="bias², exact"
    )
    axis.plot(n, np.maximum(field["mse"] - field["variance"], 1e-9), "s", color=RED, label="bias²")
    axis.plot(n, field["variance"], "o-", color=BLUE, label="variance")
    axis.plot(n, field["mse"], "D-", color=INK, label="mean squared error")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom=field["mse"].min() / 100)
    label_ticks(axis, "y")
    axis.set_xticks(n, [str(x) for x in n])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("n")
    axis.set_title("OneState at θ = 0.9, critic 20 % high, 100 episodes")
    legend(axis)
    return figure


def gae(runs: Runs):
    figure, (left, middle, right) = canvas(3)
    for axis, run in zip((left, middle), runs[0], strict=True):
        names = list(run.result["schemes"])
        lam = [float(name.split("=")[1]) for name in names]
        collected = {f: np.array([run.result["schemes"][x][f] for x in names]) for f in ("variance", "mse")}
        axis.fill_between(lam, collected["variance"], color=BLUE, alpha=0.35, label="variance")
        axis.fill_between(lam, collected["variance"], collected["mse"], color=RED, alpha=0.35, label="bias²")
        axis.plot(lam, collected["mse"], "o-", color=INK, label="mean squared error")
        axis.set_xlabel("λ")
        axis.set_ylim(bottom=0)
        axis.set_title(f"critic={run.words['critic']}, OneState at θ = 0.9")
    legend(left)
    curves(
        right,
        {f"normalised={k}": v for k, v in grouped(runs[1], "variance.normalised").items()},
        "return/train",
    )
    legend(right)
    return figure


def ladder(runs: Runs):
    figure, axes = canvas(3, 3.6, 4.6)
    for axis, one in zip(axes, (runs[0], runs[1], runs[3]), strict=True):
        run = one[0]
        name = run.result["env"]
        title = f"{name}, return {run.result['policy']['return_mean']:.3g}"
        bars(axis, run, title, exact(run) if name.startswith("pgrun/") else None, log=True)
    return figure


def off_policy_pg(runs: Runs):
    figure, (left, middle, right) = canvas(3)
    groups = grouped(runs[0], "algo.weights")
    curves(left, groups, "return/train")
    curves(middle, groups, "weight/ess", log=True)
    curves(right, groups, "kl/old_new", log=True)
    legend(left)
    return figure


def two(scalars: tuple[str, ...], key: str, log: tuple[bool, ...], name: str = "{}"):
    """The usual picture: one sweep, one setting, a panel for each scalar."""

    def picture(runs: Runs):
        figure, axes = canvas(len(scalars))
        groups = {name.format(k): v for k, v in grouped(runs[0], key).items()}
        for axis, scalar, is_log in zip(axes, scalars, log, strict=True):
            curves(axis, groups, scalar, is_log)
        legend(axes[0])
        return figure

    return picture


def online_ac(runs: Runs):
    figure, (axis,) = canvas(1, width=5.5)
    curves(axis, {"online_ac": runs[0], "a2c": runs[1]}, "return/train")
    legend(axis)
    return figure


def trpo(runs: Runs):
    figure, (left, right) = canvas(2, width=5)
    groups = grouped(runs[0], "algo", "algo.delta")
    curves(left, groups, "step/kl_realised", log=True)
    for delta in {word.split()[1] for word in groups}:
        left.axhline(float(delta), color=INK, linestyle=":", linewidth=1)
    curves(right, groups, "return/train")
    legend(right)
    return figure


def ppo_penalty(runs: Runs):
    figure, (left, middle, right) = canvas(3)
    groups = {f"β₀ = {k}": v for k, v in grouped(runs[0], "algo.beta").items()}
    curves(left, {**groups, "ppo, clip 0.2": runs[1]}, "return/train")
    curves(middle, {**groups, "ppo, clip 0.2": runs[1]}, "kl/old_new", log=True)
    for edge in (0.01 / 1.5, 0.01 * 1.5):
        middle.axhline(edge, color=INK, linestyle=":", linewidth=1)
    curves(right, groups, "step/beta", log=True)
    legend(left)
    return figure


def group(runs: Runs):
    figure, axes = canvas(2)
    for axis, run in zip(axes, runs[0], strict=True):
        shared = {"start": "the start is shared", "seed": "start and noise are shared"}[run.words["shared"]]
        bars(axis, run, shared)
    right = max(axis.get_xlim()[1] for axis in axes)
    for axis in axes:
        axis.set_xlim(0, right)
    return figure


def action_baseline(runs: Runs):
    figure, axes = canvas(2, 3.0, 5.4)
    for axis, (run,) in zip(axes, runs, strict=True):
        part = run.result["decompose"]
        names = list(part["schemes"])[::-1]
        left = np.zeros(len(names))
        for colour, key, label in (
            (GREEN, "state", "Σ_s, the state"),
            (BLUE, "action", "Σ_a, the action"),
            (RED, "rest", "Σ_τ, the rest"),
        ):
            width = np.array([max(part["schemes"][name][key], 0.0) for name in names])
            axis.barh(names, width, left=left, color=colour, label=label)
            left += width
        how = "all episodes" if part["by"] == "exact" else "sampled"
        axis.set_title(f"{run.result['env']}, {how}", fontsize=10)
        axis.set_xlabel("variance of one term of the gradient, by where it comes from")
        legend(axis)
    return figure


def grpo(runs: Runs):
    figure, (left, right) = canvas(2)
    bars(left, runs[2][0], "four prompts (3)")
    actual = [(name, run.result) for run in (runs[4][0], runs[5][0]) for name in run.result["schemes"]]
    actual = list(dict(reversed(actual)).items())[::-1]  # a scheme that both have counts with the later one
    for field, style, label in (
        ("bias_norm", {**style_line(0), "linestyle": "none"}, "measured"),
        (
            "bias_noise",
            {"marker": "|", "linestyle": "none", "color": INK, "markersize": 12},
            "noise alone",
        ),
    ):
        shares = [r["schemes"][name][field] / r["reference_norm"] for name, r in actual]
        right.plot(shares, range(len(actual)), label=label, **style)
    right.set_yticks(range(len(actual)), [name for name, _ in actual])
    right.invert_yaxis()
    right.set_title("‖mean of ĝ − ∇J‖/‖∇J‖ (5, 6)")
    legend(right)
    return figure


def vine(runs: Runs):
    figure, (axis,) = canvas(1, width=5.5)
    counts = [number(run, "critic.continuations") for run in runs[1]]
    (known,) = (run for run in runs[0] if run.words["critic"] == "exact")
    for k, scheme in enumerate(known.result["schemes"]):
        style = style_line(k)
        whiskers(axis, counts, runs[1], scheme, label=scheme, **style)
        axis.axhline(known.result["schemes"][scheme]["variance"], color=style["color"], linestyle=":")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    label_ticks(axis, "y")
    axis.set_xticks(counts, [f"{count:g}" for count in counts])
    axis.set_xlabel("continuations from each state (dotted: the exact V)")
    axis.set_title("variance of the gradient")
    legend(axis)
    return figure


DRAWN = {
    "storm_pg": two(
        ("return/train", "weight/ess", "direction/cosine"), "algo.alpha", (False, True, False), "α = {}"
    ),
    "vine": vine,
    "clipped_actions": two(("return/train", "gradient/variance"), "policy", (False, True)),
    "action_baseline": action_baseline,
    "reinforce": reinforce,
    "reward_to_go": reward_to_go,
    "mean_baseline": mean_baseline,
    "leave_one_out": leave_one_out,
    "optimal_baseline": optimal_baseline,
    "value_baseline": value_baseline,
    "q": q,
    "td0": td0,
    "a2c": two(("return/train", "kl/old_new"), "algo.epochs", (False, True), "K = {}"),
    "online_ac": online_ac,
    "critics": critics,
    "n_step": n_step,
    "gae": gae,
    "ladder": ladder,
    "off_policy_pg": off_policy_pg,
    "off_policy_ac": two(("return/train", "value/loss"), "algo.corrections", (False, True)),
    "euclidean_pg": euclidean_pg,
    "npg": npg,
    "trpo": trpo,
    "ppo": two(("return/train", "kl/old_new", "ratio/max"), "algo.clip", (False, True, True), "ε = {}"),
    "ppo_penalty": ppo_penalty,
    "group": group,
    "grpo": grpo,
}
