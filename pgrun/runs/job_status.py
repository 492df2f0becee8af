"""What a job's folder says: its settings in ``job.json``, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pgrun import atomic_files
from pgrun.command.app import App
from pgrun.errors import escape_line
from pgrun.storage.versions import installed_versions

SETTINGS = "job.json"
NEUTRAL = (
    "logger.progress",
    "logger.also",
    "logger.project",
    "trainer.checkpoint_every",
    "env.restart",
    "cores",
)  # change nothing in a run
SHOWN = 6  # differing settings in a message
WITH_VALUE = ("finished", "pruned")  # how a job may have ended
TO_GO_ON_WITH = ("killed", "interrupted", "not run")  # by resume=auto
WITHOUT_VALUE = ("failed", *TO_GO_ON_WITH)
Flat = dict[str, Hashable]


def read_result(folder: Path, app: App) -> dict[str, Any]:
    """What a job's folder says of how it ended; one that died without a word was killed."""
    if (folder / app.result).exists():
        result = read_json_object(folder / app.result)
        if is_result(result, app):
            return result
    if (folder / SETTINGS).exists():
        return {"status": "killed", "error": "died without a word"}
    return {"status": "not run", "error": "the sweep ended before"}


def is_result(result: Mapping[str, Any], app: App) -> bool:
    """Whether a result file says what is read out of it: it is data from anywhere."""
    runs = result.get("runs", [])
    if result.get("status") not in (*WITH_VALUE, *WITHOUT_VALUE) or not isinstance(runs, list):
        return False
    if result["status"] in WITHOUT_VALUE:
        return isinstance(result.get("error"), str)
    try:
        values = [app.value(result), *(run["return_mean"] for run in runs if run["status"] == "finished")]
        seeds = [run["seed"] for run in runs] or [result["seed"]]
    except (LookupError, TypeError, AttributeError, ValueError):
        return False
    return all(isinstance(x, int | float) for x in values) and all(type(seed) is int for seed in seeds)


def read_json_object(place: Path) -> dict[str, Any]:
    """Empty where it cannot be read."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(atomic_files.read_bytes(place))
        if isinstance(content, dict):
            return {"settings": {}, **content}
    return {"settings": {}}


def write_settings(folder: Path, settings: Mapping[str, Any], backend: str | None = None) -> None:
    """``backend``: that of a run, once it is chosen; what was written before stays."""
    content = {"settings": settings, "versions": dict(installed_versions())}
    backend = backend or read_json_object(folder / SETTINGS).get("backend")
    atomic_files.write_json(folder / SETTINGS, content | ({"backend": backend} if backend else {}))


def flatten_for_comparison(settings: Any) -> Flat:
    """Every setting by its key; numbers that are equal are, however they were typed."""
    if not isinstance(settings, Mapping):
        return {}
    flat: Flat = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in flatten_for_comparison(value).items()}
        else:
            flat[str(key)] = value if isinstance(value, Hashable) else json.dumps(value)
    return {key: value for key, value in flat.items() if key not in NEUTRAL}


def describe_differences(old: Any, new: Any) -> str:
    """What two configurations do not have in common; empty where they are the same."""
    return (
        ""
        if flatten_for_comparison(old) == flatten_for_comparison(new)
        else format_changes(flatten_for_comparison(old), flatten_for_comparison(new))
    )


def format_changes(old: Flat, new: Flat) -> str:
    """``optimizer.lr=0.1, not 0.2; seed=1, not 0``."""
    keys = [key for key in {**old, **new} if old.get(key, "unset") != new.get(key, "unset")]
    texts = [f"{key}={old.get(key, 'unset')}, not {new.get(key, 'unset')}" for key in keys[:SHOWN]]
    return "; ".join(map(escape_line, texts)) + (
        f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    )
