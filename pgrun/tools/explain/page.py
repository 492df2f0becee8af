"""The page that ``pgrun-explain`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from gymnasium.spaces import Box

from pgrun.algorithms.base import Algorithm
from pgrun.command.compose import Job
from pgrun.command.environment_check import probe_environment
from pgrun.command.setting_check import classes_chosen
from pgrun.command.unused_settings import (
    explain_unused_by_class,
    explain_unused_critic,
    explain_unused_elsewhere,
    explain_unused_optimizer,
    log_std,
)
from pgrun.config.schema import format_value
from pgrun.diagnostics import gradient_variance
from pgrun.policies.normalization import RewardScale
from pgrun.tools.explain import facts
from pgrun.tools.explain.docstring import (
    explain_class,
    find_citations,
    find_setting_sentence,
    page_width,
    wrap_paragraph,
)
from pgrun.tools.explain.origins import DEFAULT, chosen_by, find_origins, iterate_settings
from pgrun.variance.advantage_norm import normalise_advantages

INTERNAL = ("usual", "tuned")


def format_job_page(job: Job) -> str:
    """Sections of one job, each under its heading."""
    settings, chosen = job.settings, classes_chosen(job.settings)
    env, _ = probe_environment(settings)
    parts = describe_methods(settings, chosen, env)
    sections = {f"{title} · {label}": paragraphs for title, label, paragraphs in parts}
    sections |= {
        "Bias": format_bullets(facts.explain_bias(settings, chosen)),
        "Variance": format_bullets(facts.explain_variance(settings, chosen)),
        "Truncation": format_bullets(facts.explain_truncation(settings, chosen, env)),
        "Normalised": format_bullets(facts.explain_normalisation(settings, chosen, env)) or ["- nothing"],
        "Values": list(format_settings_table(job, chosen, env)),
        "Papers": list(format_papers(parts, sections_of=settings)),
    }
    return "\n\n".join(
        [format_job_summary(settings), *(format_section(*item) for item in sections.items() if item[1])]
    )


def format_job_summary(settings: Mapping[str, Any]) -> str:
    trainer, count = settings["trainer"], settings["trainer"]["eval_episodes"]
    every = trainer["eval_every"]
    when = f"every {every:,} and at the end" if isinstance(every, int) else "at the end"
    if every == "auto":
        when += ", 5 every 10,000 or more"
    names = (settings["algo"]["name"], settings["variance"]["name"], settings["env"]["id"])
    return (
        f"{' · '.join(names)} · seed {settings['seed']}\n"
        f"  {int(trainer['total_steps']):,} steps; evaluated by the policy's mode: {count} episodes {when}"
    )


def describe_methods(
    settings: Mapping[str, Any], chosen: Mapping[str, Any], env: Any
) -> list[tuple[str, str, list[str]]]:
    """(title, ``group=option``, what the class says)."""

    def part(title: str, group: str, *more: str) -> tuple[str, str, list[str]]:
        given = {key: value for key, value in settings[group].items() if key not in ("name", "optimizer")}
        return (
            title,
            f"{group}={settings[group]['name']}",
            [*explain_class(chosen[group], given), *filter(None, more)],
        )

    bonus = (
        find_setting_sentence(Algorithm, "entropy", settings["algo"])
        if settings["algo"].get("entropy")
        else ""
    )
    parts = [
        part("Objective", "algo", bonus),
        part("Weight", "variance", describe_estimate()),
        part("Data", "sampler"),
    ]
    if chosen["variance"].uses_critic:
        parts.append(part("Critic", "critic"))
    parts.append(part("Networks", "network"))
    if isinstance(getattr(env, "action_space", None), Box):
        parts.append(part("Policy", "policy"))
    if not chosen["algo"].takes_own_step:
        parts.append(part("Step", "optimizer"))
    return parts


def describe_estimate() -> str:
    """ĝ, as the meter defines it."""
    line = next(line for line in (gradient_variance.__doc__ or "").splitlines() if "ĝ =" in line)
    formula, _, where = line.strip().partition("   ")
    return f"The estimate: {formula}, {where.strip().rstrip(',')}."


def format_bullets(sentences: Iterator[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def format_section(title: str, paragraphs: list[str]) -> str:
    return "\n".join(
        [
            title,
            *(hang_bullet(text) if text.startswith("- ") else wrap_paragraph(text) for text in paragraphs),
        ]
    )


def hang_bullet(text: str) -> str:
    return textwrap.fill(
        text, page_width(), initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )


def format_settings_table(job: Job, chosen: Mapping[str, Any], env: Any) -> Iterator[str]:
    """A table of what is not the default, and a list of what is; without what nothing reads."""
    rows, usual = [("key", "value", "from")], []
    origins = find_origins(job)
    for key, value in iterate_settings(job.settings):
        name = chosen_by(key) or key
        if key.split(".")[0] in INTERNAL or is_setting_unused(name, job, chosen, env):
            continue
        if origins[key] == DEFAULT:
            usual.append(f"{name}={format_value(value)}".replace(" ", "\N{NO-BREAK SPACE}"))
        else:
            rows.append((name, format_value(value), origins[key]))
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    yield "\n".join(f" {key:<{widths[0]}}  {value:<{widths[1]}}  {where}" for key, value, where in rows)
    yield f"default: {' '.join(usual)}"


def is_setting_unused(name: str, job: Job, chosen: Mapping[str, Any], env: Any) -> bool:
    settings, space = job.settings, getattr(env, "action_space", None)
    return bool(
        explain_unused_critic(name, settings, chosen, space)
        or explain_unused_optimizer(name, settings, chosen)
        or explain_unused_by_class(name, settings, chosen)
        or log_std(name, settings, chosen)
        or explain_unused_elsewhere(name, settings, space)
    )


def format_papers(parts: list[tuple[str, str, list[str]]], sections_of: Mapping[str, Any]) -> Iterator[str]:
    """What the classes cite, each once, where it was first."""
    cited = {label: find_citations(paragraphs) for _, label, paragraphs in parts}
    for key, of in (("advantage_norm", normalise_advantages), ("reward_scaling", RewardScale)):
        if sections_of[key] not in (False, "none"):
            cited[key] = find_citations([facts.join_docstring(of)])
    width = max(map(len, cited))
    yield "\n".join(f" {label:<{width}}  {'; '.join(papers)}" for label, papers in cited.items() if papers)
