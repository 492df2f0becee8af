"""A run's composed configuration as flat data. Nothing is instantiated, and no resolver is called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import yaml

from pgrun.config.plain_yaml import load_yaml

IGNORED = (
    "seed",
    "seeds",
    "usual",
    "tuned",
    "logger",
    "diagnostics",
    "resume",
    "trainer.checkpoint_every",
    "trainer.film_every",
    "env.restart",
    "cores",
)  # change nothing that is learned
SEED = re.compile(r"^seed:.*$", re.M)
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
SELECT = re.compile(r"\$\{oc\.select:\s*([\w.]+)\s*,(.*)\}", re.S)
DEPTH = 20  # of sections in sections, and of references that lead to references
MOST = 10_000  # settings

Flat = dict[str, Any]


def read_config(text: str) -> tuple[Flat, Any]:
    """(settings without the seed, the seed) of a ``.hydra/config.yaml``. Raises ValueError where it is none.

    Runs of a sweep differ in the line of the seed alone, so that the rest is parsed once.
    """
    settings = parse_settings_without_seed(SEED.sub("seed: 0", text))
    line = SEED.search(text)
    try:
        return dict(settings), load_yaml(line[0])["seed"] if line else None
    except yaml.YAMLError as error:
        raise ValueError("its seed is not YAML") from error


@lru_cache(maxsize=4096)
def parse_settings_without_seed(text: str) -> Flat:
    try:
        settings = load_yaml(text)
        if not isinstance(settings, dict):
            raise ValueError("no settings in it")
        return flatten_comparable_settings(settings)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("not YAML") from error


def flatten_comparable_settings(settings: Mapping[str, Any]) -> Flat:
    """Resolved leaves by their path, without those that are no part of a comparison.

    Raises ``ValueError`` where they have no end.
    """
    kept = {str(key): value for key, value in settings.items() if key not in IGNORED}
    flat: Flat = {}
    for path, value in iterate_leaves(kept, settings):
        flat[path] = resolve_reference(value, settings)
        if len(flat) > MOST:
            raise ValueError(f"more than {MOST} settings")
    return {path: value for path, value in flat.items() if path not in IGNORED}


def iterate_leaves(
    part: Mapping[str, Any], whole: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    if depth > DEPTH:
        raise ValueError("sections in sections without end")
    for key, value in part.items():
        value = resolve_reference(value, whole)
        if isinstance(value, Mapping):
            yield from iterate_leaves(value, whole, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}", value


def resolve_reference(value: Any, whole: Mapping[str, Any], depth: int = 0) -> Any:
    """``${a.b}`` and ``${oc.select:a.b,default}`` by what they stand for; any other text as it is."""
    if not isinstance(value, str) or "${" not in value or depth > DEPTH:
        return value
    if match := REFERENCE.fullmatch(value):
        target = look_up_path(whole, match[1])
        return value if target is MISSING else resolve_reference(target, whole, depth + 1)
    if match := SELECT.fullmatch(value):
        target = look_up_path(whole, match[1])
        return resolve_reference(
            parse_typed_value(match[2]) if target is MISSING else target, whole, depth + 1
        )
    return value


MISSING = object()


def look_up_path(whole: Mapping[str, Any], path: str) -> Any:
    """The value at ``a.b.c``, through references on the way."""
    here: Any = whole
    for key in path.split("."):
        here = resolve_reference(here, whole) if isinstance(here, str) else here
        if not isinstance(here, Mapping) or key not in here:
            return MISSING
        here = here[key]
    return here


def parse_typed_value(text: str) -> Any:
    """A value as typed: ``1e-3`` is a number too, which YAML 1.1 takes for text."""
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, ValueError):
        return text.strip()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def format_label_value(value: Any) -> str:
    """A value as one would type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_label_value, value))}]"
    return str(value)


def make_settings_key(config: Flat, paths: Iterable[str] = ()) -> str:
    """The same text for the same settings, however their numbers were typed: all of them, or ``paths``."""
    held = [(path, config[path]) for path in paths or sorted(config) if path in config]
    return json.dumps([(path, format_label_value(value)) for path, value in held])
