"""Discount factors and critics."""

from __future__ import annotations

import math

from pgrun.analysis.doctor.run_data import Chart
from pgrun.analysis.doctor.steps import CAUSES
from pgrun.analysis.doctor.symptom import Symptom, format_figure, format_scaled_setting

SIGHT = 0.02  # of an episode: γ weighs what comes later by less than 1/e; tuned Pendulum looks 0.05 ahead
NOTHING = 0.05  # of the targets' variance explained: none
WORSE = (
    -0.2
)  # explained variance: clearly below a constant; a fit to the batch before has a noise of about 0.1
ROWS = 16  # of the critic's scalars, for the second half of them to be worth something
ASTRAY = 2.0  # error ÷ mean value: the critic has not even found the level of the returns
SEEN = (
    0.25  # the same: where the targets differ by less, as at a ceiling, there is hardly anything to explain
)
REACH = 10.0  # the same, where it is on the way and far from there
LARGE = 100.0  # targets that a network which starts at ±1 needs a thousand steps of Adam for


def detect_short_sight(chart: Chart) -> str | None:
    gamma, length = chart.setting("gamma", 1.0), chart.typical("episode/length")
    if not length > 1 or gamma >= 1:
        return None
    if gamma == 0:
        return f"gamma=0: only the reward of the same step counts, and episodes last {format_figure(length)}"
    if not chart.failing or 1 / (1 - gamma) > SIGHT * length:
        return None
    return (
        f"gamma={gamma:g} looks {1 / (1 - gamma):.0f} steps ahead, and episodes last {format_figure(length)}"
    )


def suggest_farther_sight(chart: Chart) -> str:
    """A sight of twice what is too short, and of 100 steps at least."""
    return f"gamma={max(0.99, 1 - 1 / (2 * SIGHT * chart.typical('episode/length'))):.4g}"


def second_half_medians(chart: Chart) -> tuple[float, float, float]:
    """(explained variance, root-mean-square error, |mean value|): medians over the
    second half; NaN of a short run.
    """
    if len(chart.values("value/loss")) < ROWS:
        return math.nan, math.nan, math.nan
    loss = max(chart.typical("value/loss", 0.5), 0.0)
    return (
        chart.typical("value/explained_variance", 0.5),
        math.sqrt(2 * loss),
        abs(chart.typical("value/mean", 0.5)),
    )


def detect_values_out_of_reach(chart: Chart) -> str | None:
    explained, error, mean = second_half_medians(chart)
    if not (explained < NOTHING and error > LARGE and error > REACH * mean):
        return None
    return (
        f"the critic cannot reach its targets: error {format_figure(error)}, values of {format_figure(mean)} "
        "on average"
    )


def suggest_scaling(chart: Chart) -> str:
    if chart.settings.get("reward_scaling") is True:
        return format_scaled_setting(chart, "critic.optimizer.lr", 10, 1e-3)
    return "reward_scaling=true"


def detect_useless_critic(chart: Chart) -> str | None:
    """Near 0 at a ceiling, where all targets are alike, is no illness: then its error is small."""
    explained, error, mean = second_half_medians(chart)
    matters = chart.failing or error > SEEN * mean
    noise = 0.0 if chart.returns is None else chart.returns.spread  # no critic can know what chance will do
    astray = error > ASTRAY * max(mean, noise)
    bad = (explained < WORSE and matters) or (explained < NOTHING and (chart.failing or astray))
    alike = chart.returns is not None and chart.returns.constant
    if not bad or alike or detect_values_out_of_reach(chart) or not error > 0:
        return None
    worse = "less than a constant would" if explained < WORSE else "nothing"
    return (
        f"the critic explains {worse}: explained variance {explained:.2g}, error {format_figure(error)}, "
        "mean "
        f"value {format_figure(mean)}"
    )


def suggest_critic_settings(chart: Chart) -> str:
    rate = chart.setting("critic.optimizer.lr", 1e-3)
    if rate >= 0.03:
        return "critic.optimizer.lr=1e-3"
    if chart.settings.get("reward_scaling") is not True:
        return (
            "reward_scaling=true, or more fitting: "
            f"critic.epochs={max(10, 2 * chart.setting('critic.epochs', 1)):.0f}"
        )
    return f"more fitting, {format_scaled_setting(chart, 'critic.epochs', 4, 10)}, or state_norm=true"


SYMPTOMS = (
    Symptom("short-sighted", detect_short_sight, suggest_farther_sight),
    Symptom("values-out-of-reach", detect_values_out_of_reach, suggest_scaling),
    Symptom("critic-explains-nothing", detect_useless_critic, suggest_critic_settings, CAUSES),
)
