"""The page that ``pgrun-explain`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from gymnasium.spaces import Box

from pgrun.algorithms.base import Algorithm
from pgrun.command.compose import Job
from pgrun.command.unused_settings import critic, declared, log_std, optimizer, other
from pgrun.command.validate import classes_chosen, probe_environment
from pgrun.config.schema import format_value
from pgrun.diagnostics import gradient_variance
from pgrun.policies.normalization import RewardScale
from pgrun.tools.explain import facts
from pgrun.tools.explain.docstring import WIDTH, citations, piece, told, wrapped
from pgrun.tools.explain.origins import DEFAULT, chosen_by, flat, origins
from pgrun.variance.advantage_norm import normalise_advantages

INTERNAL = ("usual", "tuned")


def page(job: Job) -> str:
    """Sections of one job, each under its heading."""
    settings, chosen = job.settings, classes_chosen(job.settings)
    env, _ = probe_environment(settings)
    parts = methods(settings, chosen, env)
    sections = {f"{title} · {label}": paragraphs for title, label, paragraphs in parts}
    sections |= {
        "Bias": bullets(facts.bias(settings, chosen)),
        "Variance": bullets(facts.variance(settings, chosen)),
        "Truncation": bullets(facts.truncation(settings, chosen, env)),
        "Normalised": bullets(facts.normalised(settings, chosen, env)) or ["- nothing"],
        "Values": list(values(job, chosen, env)),
        "Papers": list(papers(parts, sections_of=settings)),
    }
    return "\n\n".join([summary(settings), *(section(*item) for item in sections.items() if item[1])])


def summary(settings: Mapping[str, Any]) -> str:
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


def methods(
    settings: Mapping[str, Any], chosen: Mapping[str, Any], env: Any
) -> list[tuple[str, str, list[str]]]:
    """(title, ``group=option``, what the class says)."""

    def part(title: str, group: str, *more: str) -> tuple[str, str, list[str]]:
        given = {key: value for key, value in settings[group].items() if key not in ("name", "optimizer")}
        return title, f"{group}={settings[group]['name']}", [*told(chosen[group], given), *filter(None, more)]

    bonus = piece(Algorithm, "entropy", settings["algo"]) if settings["algo"].get("entropy") else ""
    found = [
        part("Objective", "algo", bonus),
        part("Weight", "variance", estimate()),
        part("Data", "sampler"),
    ]
    if chosen["variance"].uses_critic:
        found.append(part("Critic", "critic"))
    found.append(part("Networks", "network"))
    if isinstance(getattr(env, "action_space", None), Box):
        found.append(part("Policy", "policy"))
    if not chosen["algo"].takes_own_step:
        found.append(part("Step", "optimizer"))
    return found


def estimate() -> str:
    """ĝ, as the meter defines it."""
    line = next(line for line in (gradient_variance.__doc__ or "").splitlines() if "ĝ =" in line)
    formula, _, where = line.strip().partition("   ")
    return f"The estimate: {formula}, {where.strip().rstrip(',')}."


def bullets(sentences: Iterator[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def section(title: str, paragraphs: list[str]) -> str:
    return "\n".join(
        [title, *(hung(text) if text.startswith("- ") else wrapped(text) for text in paragraphs)]
    )


def hung(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def values(job: Job, chosen: Mapping[str, Any], env: Any) -> Iterator[str]:
    """A table of what is not the default, and a list of what is; without what nothing reads."""
    rows, usual = [("key", "value", "from")], []
    found = origins(job)
    for key, value in flat(job.settings):
        name = chosen_by(key) or key
        if key.split(".")[0] in INTERNAL or not_read(name, job, chosen, env):
            continue
        if found[key] == DEFAULT:
            usual.append(f"{name}={format_value(value)}".replace(" ", "\N{NO-BREAK SPACE}"))
        else:
            rows.append((name, format_value(value), found[key]))
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    yield "\n".join(f" {key:<{widths[0]}}  {value:<{widths[1]}}  {where}" for key, value, where in rows)
    yield f"default: {' '.join(usual)}"


def not_read(name: str, job: Job, chosen: Mapping[str, Any], env: Any) -> bool:
    settings = job.settings
    return bool(
        critic(name, settings, chosen)
        or optimizer(name, settings, chosen)
        or declared(name, settings, chosen)
        or log_std(name, settings, chosen)
        or other(name, settings, getattr(env, "action_space", None))
    )


def papers(parts: list[tuple[str, str, list[str]]], sections_of: Mapping[str, Any]) -> Iterator[str]:
    """What the classes cite, each once, where it was first."""
    cited = {label: citations(paragraphs) for _, label, paragraphs in parts}
    for key, of in (
        ("advantage_norm", normalise_advantages),
        ("reward_scaling", RewardScale),
    ):
        if sections_of[key] not in (False, "none"):
            cited[key] = citations([facts.says(of)])
    width = max(map(len, cited))
    yield "\n".join(f" {label:<{width}}  {'; '.join(found)}" for label, found in cited.items() if found)
