"""A study on the terminal: a row a scheme, least variance first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pgrun.presentation.tables import align_columns
from pgrun.tools.study.text_sections import format_sections


def format_study(result: Mapping[str, Any]) -> str:
    """The policy, the schemes, those left out."""
    head = (
        f"{result['env']} · policy of {result['policy']['parameters']} parameters, return "
        f"{result['policy']['return_mean']:.4g} ± {result['policy']['return_se']:.2g} · γ "
        f"{result['gamma']:g} · seed {result['seed']}",
        f"{result['estimates']} estimates of the gradient from {result['batch']} "
        f"episode{'s' * (result['batch'] > 1)} each · critic {result['critic']} · {format_reference(result)}",
    )
    notes = [f"  left out  {label}: {reason}" for label, reason in result["left_out"].items()]
    more = [f"\n{text}" for text in format_sections(result)]
    return "\n".join(
        ["", *head, "", *align_columns(format_scheme_rows(result)), *([""] if notes else []), *notes, *more]
    )


def format_reference(result: Mapping[str, Any]) -> str:
    norm = f"‖∇J‖ = {result['reference_norm']:.4g}"
    if result["reference"] == "exact":
        return f"{norm}, exact"
    return f"{norm} ± {result['reference_se']:.2g}, from {result['reference_episodes']} other episodes"


def format_scheme_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    ordered = sorted(result["schemes"].items(), key=lambda item: item[1]["variance"])
    head = ("scheme", "variance", "95 %", "bias (noise)", "bias z", "mse", "cosine", "µs", "claim")
    return [head, *(format_scheme_row(label, entry) for label, entry in ordered)]


def format_scheme_row(label: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    interval = f"{entry['variance_low']:.3g} … {entry['variance_high']:.3g}"
    return (
        label,
        f"{entry['variance']:.4g}",
        interval,
        f"{entry['bias_norm']:.3g} ({entry['bias_noise']:.2g})",
        format_or_dash(entry["bias_z"], "+.1f"),
        f"{entry['mse']:.4g}",
        format_or_dash(entry["cosine"], ".3f"),
        f"{entry['microseconds']:.0f}",
        entry["claim"],
    )


def format_or_dash(x: float | None, form: str) -> str:
    return "–" if x is None else format(x, form)


def format_study_table(jobs: Sequence[dict[str, Any]]) -> str:
    """The end of a sweep: a row for each job and scheme. Words that all jobs share stand above, once."""
    words = [[word.shown for word in job["words"]] for job in jobs]
    shared = set.intersection(*map(set, words)) if len(words) > 1 else set()
    rows: list[tuple[str, ...]] = []
    for job, typed in zip(jobs, words, strict=True):
        name = " ".join(word for word in typed if word not in shared) or "(defaults)"
        head, *body = format_scheme_rows(job)
        rows = rows or [("job", *head)]
        rows += [(name, *cells) for cells in body]
    common = [word for word in words[0] if word in shared]
    return "\n".join([*(["all: " + " ".join(common)] if common else []), *align_columns(rows)])
