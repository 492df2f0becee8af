"""The table of the symptoms that are known, and which of them a run has."""

from __future__ import annotations

from pgrun.analysis.doctor import critic, failed_runs, outcome, steps
from pgrun.analysis.doctor.run_data import Chart
from pgrun.analysis.doctor.symptom import Finding, Symptom

SYMPTOMS: tuple[Symptom, ...] = (*failed_runs.SYMPTOMS, *steps.SYMPTOMS, *critic.SYMPTOMS, *outcome.SYMPTOMS)


def find_symptoms(chart: Chart) -> list[Finding]:
    """What the chart shows, in the order of the table of illnesses."""
    seen = ((illness, illness.detect(chart)) for illness in SYMPTOMS)
    return [Finding(illness, text, illness.suggest(chart)) for illness, text in seen if text]
