"""Which file, or the command line, gave each setting its value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.default_element import GroupDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from pgrun.command.compose import Job, composing_with_hydra
from pgrun.command.hydra_env import PgrunSearchPath
from pgrun.config.paths import conf_dir

DEFAULT, TYPED = "default", "command line"
PROPOSED = re.compile(r"^\$\{oc\.select:([\w.]+),.*\}$", re.S)  # usual.optimizer.lr, else a default
SAME = re.compile(r"^\$\{([\w.]+)\}$")  # as another setting
COMMON = ("algo", "tuned", "experiment")  # groups whose files set what belongs to others
NAMES = {"env.id": "env", "critic.optimizer.name": "critic.optimizer"}


@dataclass
class Source:
    """Raw values, each with the file that set it last; and which file chose the option of a group."""

    values: dict[str, tuple[Any, str]] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)


def find_origins(job: Job) -> dict[str, str]:
    """flat key of ``job.settings`` → ``default``, ``algo=ppo``, ``tuned=ppo/CartPole-v1``, ``command line``,
    ``variance.lam``, …
    """
    source = read_sources(job)
    typed = {word.key for word in job.words}
    groups = {name.replace("/", ".") for name in job.choices}
    return {key: find_origin(key, source, typed, groups) for key, _ in iterate_settings(job.settings)}


def find_origin(key: str, source: Source, typed: set[str], groups: set[str]) -> str:
    group = chosen_by(key)
    if group is not None:
        return TYPED if group in typed else source.choices.get(group, DEFAULT)
    if any(key == word or key.startswith(f"{word}.") for word in typed - groups):
        return TYPED
    raw, where = source.values.get(key, (None, DEFAULT))
    match = PROPOSED.match(raw) if isinstance(raw, str) else None
    if match is None:
        return where
    wanted = match[1]
    if wanted not in source.values:
        return where
    if not wanted.startswith("usual."):
        return wanted
    proposed, proposer = source.values[wanted]
    same = SAME.match(proposed) if isinstance(proposed, str) else None
    return same[1] if same else proposer


def chosen_by(key: str) -> str | None:
    """The group whose option a key names: ``algo.name`` is that of ``algo``."""
    if key in NAMES:
        return NAMES[key]
    group, _, name = key.partition(".")
    return group if name == "name" else None


def read_sources(job: Job) -> Source:
    """The files that this job is composed of, in Hydra's order: the last one wins."""
    sources = Source()
    own = next((folder for folder in PgrunSearchPath.folders), None)
    with composing_with_hydra(own):
        loader = GlobalHydra.instance().config_loader()
        listed = loader.compute_defaults_list("config", [word.text for word in job.words], RunMode.RUN)
        for default in listed.defaults:
            path = default.config_path or ""
            if path.split("/")[0] == "hydra":
                continue
            result = loader.repository.load_config(path)  # type: ignore[attr-defined]
            label = label_source(path, result.path)
            content: Any = OmegaConf.to_container(result.config, resolve=False)
            for key, value in iterate_settings(content, f"{default.package}." if default.package else ""):
                sources.values[key] = (value, label)
            sources.choices |= dict(find_overridden_groups(result.defaults_list or (), job, label))
    return sources


def find_overridden_groups(defaults: Sequence[Any], job: Job, label: str) -> Iterator[tuple[str, str]]:
    for entry in defaults:
        if isinstance(entry, GroupDefault) and entry.override:
            group = str(entry.group).lstrip("/")
            if job.choices.get(group) == entry.value:
                yield group.replace("/", "."), label


def label_source(path: str, place: str) -> str:
    """Options of ours are defaults, but for the groups that set what belongs to others."""
    group, _, option = path.rpartition("/") if not path.startswith("tuned/") else path.partition("/")
    ours = place.startswith(("gymnasium:", f"file://{conf_dir()}"))
    return DEFAULT if not group or (ours and group not in COMMON) else f"{group}={option}"


def iterate_settings(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from iterate_settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
