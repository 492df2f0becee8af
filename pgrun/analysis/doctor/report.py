"""What the doctor says: one paragraph a run."""

from __future__ import annotations

import textwrap
from multiprocessing import parent_process
from pathlib import Path

from pgrun.analysis.doctor.known_symptoms import find_symptoms
from pgrun.analysis.doctor.return_trend import Course
from pgrun.analysis.doctor.run_data import Chart, read_chart
from pgrun.analysis.doctor.symptom import Finding, format_figure
from pgrun.errors import escape_line
from pgrun.terminal.printing import shorten_folder, text_width


def diagnose_run(chart: Chart) -> str:
    """All that was found, or what was looked at."""
    symptoms = find_symptoms(chart)
    text = format_findings(symptoms) if symptoms else f"Nothing found. {describe_figures(chart)}"
    notes = [f"({note})" for note in chart.notes]
    return "\n".join(
        [
            f"{shorten_folder(chart.folder)}: {format_run_status(chart)}",
            *map(indent_paragraph, [text, *notes]),
        ]
    )


def diagnose_finished_run(folder: Path) -> str:
    """What ``pgrun`` says below a run's result; nothing where nothing is wrong, and
    in a sweep, which ends in a table.
    """
    if parent_process() is not None:  # every job of a sweep has a process of its own
        return ""
    try:
        symptoms = find_symptoms(read_chart(folder))
    except Exception as error:  # the run is finished and saved: an opinion must not turn it into a failed one
        return f"\npgrun-doctor {shorten_folder(folder)} stumbled: {type(error).__name__}: {error}"
    return "\n" + indent_paragraph(f"doctor: {format_findings(symptoms)}") if symptoms else ""


def format_findings(findings: list[Finding]) -> str:
    """Causes with their remedies, then what follows from them."""
    names = {finding.name for finding in findings}
    follows = [finding for finding in findings if names.intersection(finding.illness.follows)]
    said = [capitalise_sentence(str(finding)) + "." for finding in findings if finding not in follows]
    if follows:
        said.append(f"Probably because of that, {'; '.join(finding.evidence for finding in follows)}.")
    return " ".join(said)


def capitalise_sentence(text: str) -> str:
    """Settings keep their small letters."""
    return text if "=" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def indent_paragraph(text: str) -> str:
    return textwrap.fill(
        text,
        text_width(),
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def format_run_status(chart: Chart) -> str:
    names = [str(chart.settings.get(key, "?")) for key in ("algo.name", "variance.name", "env.id")]
    return escape_line(f"{' · '.join(names)} · {chart.status}, {chart.metrics.last:,} steps")


def describe_figures(chart: Chart) -> str:
    """The figures that would have shown an illness."""
    kl, ess = chart.windows("kl/old_new"), chart.windows("ratio/ess")
    parts = [
        describe_returns(chart.returns),
        f"KL up to {format_figure(max(kl))} an update" if kl else "",
        f"effective samples from {min(ess):.0%}" if ess else "",
        format_typical_value(chart, "policy/entropy", "entropy"),
        format_typical_value(chart, "value/explained_variance", "explained variance"),
        format_typical_value(chart, "gradient/snr", "signal to noise of the gradient"),
    ]
    return f"Looked at: {'; '.join(part for part in parts if part) or 'no scalars are there'}."


def describe_returns(course: Course | None) -> str:
    """Short runs say nothing about learning."""
    if course is None:
        return "too few returns to tell whether it learns"
    return (
        f"return {format_figure(course.start.mean)} at the start, {format_figure(course.best.mean)} at best, "
        f"{format_figure(course.end.mean)} at the end"
    )


def format_typical_value(chart: Chart, tag: str, name: str) -> str:
    value = chart.typical(tag, 0.5)
    return f"{name} {format_figure(value)}" if value == value else ""
