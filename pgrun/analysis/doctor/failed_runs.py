"""Illnesses for which the numbers need no threshold: nothing can be learned like this."""

from __future__ import annotations

import shlex

from pgrun.analysis.doctor.run_data import Chart, coerce_to_number
from pgrun.analysis.doctor.steps import suggest_shorter_steps
from pgrun.analysis.doctor.symptom import Symptom, format_figure
from pgrun.terminal.printing import shorten_folder

ONE_STATE = (
    1.01  # largest ÷ mean KL over states; that of a policy which sees its states has been 1.1 at the least
)
MOVED = 1e-6  # KL below which float32 rounding decides that quotient


def detect_not_finite(chart: Chart) -> str | None:
    return f"a scalar is no number: {chart.infinite}" if chart.infinite else None


def suggest_for_not_finite(chart: Chart) -> str:
    return f"{suggest_shorter_steps(chart)}, and reward_scaling=true"


def detect_failure(chart: Chart) -> str | None:
    if chart.status in ("finished", "unfinished", "interrupted"):
        return None
    return f"the run {chart.status}: {str(chart.summary.get('error', 'no reason is known')).strip()[:200]}"


def suggest_for_failure(chart: Chart) -> str:
    return "what the message says; PGRUN_DEBUG=1 before the command shows where it comes from"


def detect_unfinished(chart: Chart) -> str | None:
    if chart.status not in ("unfinished", "interrupted"):
        return None
    total = chart.setting("trainer.total_steps")
    whole = f" of {total:,.0f}" if total == total else ""
    return f"the run is not finished: {chart.metrics.last:,}{whole} steps"


def suggest_resuming(chart: Chart) -> str:
    word = shlex.quote(f"resume={shorten_folder(chart.folder)}")
    return f"pgrun {word}, unless it is still running"


def detect_no_episode(chart: Chart) -> str | None:
    counts = chart.values("episode/count")
    if not len(counts) or counts[-1] > 0:
        return None
    return f"no episode has ended in {chart.metrics.last:,} steps"


def suggest_for_no_episode(chart: Chart) -> str:
    return "a time limit that is reached, env.max_episode_steps=500, or more steps: trainer.total_steps"


def detect_no_signal(chart: Chart) -> str | None:
    course = chart.returns
    if course is None or not course.constant:
        return None
    return (
        f"every episode has returned the same, {format_figure(course.end.mean)}: nothing tells one action "
        "from another"
    )


def suggest_for_no_signal(chart: Chart) -> str:
    return (
        "a reward that says more (a wrapper of your own environment), wider exploration "
        "(algo.entropy=0.01), or more steps"
    )


def detect_frozen_normaliser(chart: Chart) -> str | None:
    """It counts every step and every final state, so that it has seen at least as
    many states as there were steps.
    """
    if chart.settings.get("state_norm") is not True or chart.seen is None:
        return None
    steps = coerce_to_number(chart.summary.get("env_steps")) or chart.metrics.last
    steps -= coerce_to_number(chart.summary.get("continuation_steps")) or 0
    if chart.settings.get("critic.name") == "vine" and chart.status != "finished":
        return None  # only a summary tells how many they are
    if chart.seen >= steps / 2:
        return None
    return f"state_norm=true, but the normaliser has seen {chart.seen:,.0f} states in {steps:,.0f} steps"


def suggest_for_frozen_normaliser(chart: Chart) -> str:
    return (
        "without your own code that stops its updates; it belongs after every update, with that update's "
        "states"
    )


def detect_blind_policy(chart: Chart) -> str | None:
    """KL(old‖new) is the same in every state."""
    if not chart.failing or chart.settings.get("env.id", "").startswith("pgrun/"):
        return None  # in several of the small problems there is one state
    moved, most = chart.metrics.columns.get("kl/old_new"), chart.metrics.columns.get("kl/max")
    if moved is None or most is None:
        return None
    rows = moved > MOVED
    if rows.sum() < 3 or (most[rows] > ONE_STATE * moved[rows]).mean() > 0.1:
        return None
    return (
        "every update moves the policy by the same KL in all states: it does not tell one observation from "
        "another"
    )


def suggest_for_blind_policy(chart: Chart) -> str:
    if chart.settings.get("state_norm") is True:
        return "to print the observations: they carry nothing that differs"
    return "state_norm=true: observations that are large, or that lie far from 0, saturate the network"


SYMPTOMS = (
    Symptom("failed", detect_failure, suggest_for_failure),
    Symptom("not-finite", detect_not_finite, suggest_for_not_finite),
    Symptom("unfinished", detect_unfinished, suggest_resuming),
    Symptom("no-episode-ends", detect_no_episode, suggest_for_no_episode),
    Symptom("every-return-the-same", detect_no_signal, suggest_for_no_signal),
    Symptom("normaliser-frozen", detect_frozen_normaliser, suggest_for_frozen_normaliser),
    Symptom(
        "all-states-look-alike",
        detect_blind_policy,
        suggest_for_blind_policy,
        ("normaliser-frozen", "noise-grows"),
    ),
)
