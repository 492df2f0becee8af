"""Runs below some folders, whatever state they are in. What cannot be used is named in one line each."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pgrun import atomic_files
from pgrun.analysis.compare.config import Flat, flatten_comparable_settings, make_settings_key, read_config
from pgrun.analysis.compare.metrics import EVAL, Metrics, read_metrics
from pgrun.config.plain_yaml import load_yaml
from pgrun.errors import InvalidCommand, escape_line
from pgrun.terminal.printing import shorten_folder

MARKS = ("summary.json", "metrics.csv", "policy.json", ".hydra")  # a folder with one of these is a run's
UNINTERESTING = (".log",)


@dataclass(frozen=True)
class Run:
    """``score`` is None where a run has none: unfinished, failed, or not finite."""

    folder: Path
    config: Flat  # without the seed
    typed: tuple[str, ...]  # keys of the command line
    seed: int
    finished: bool
    score: float | None
    metrics: Metrics = field(default_factory=Metrics)
    words: tuple[str, ...] = ()  # as typed
    versions: Mapping[str, str] = field(default_factory=dict)
    written: float = 0.0  # when its last file was

    @property
    def env(self) -> str:
        return escape_line(str(self.config.get("env.id", "?")))


@dataclass
class Found:
    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, folder: Path, *texts: str) -> None:
        self.notes.append(
            escape_line(f"{shorten_folder(folder)}: {', '.join(text for text in texts if text)}")
        )


def read_runs(names: Sequence[str], wanted: Sequence[str] = (), at: int | None = None) -> Found:
    """Every run in the folders and globs ``names``, with the scalars ``wanted``.

    ``at``: scores are the last evaluation up to so many steps, instead of the final one.
    """
    read = Found()
    tags = list(dict.fromkeys([*wanted, *((EVAL,) if at is not None else ())]))
    folders = dict.fromkeys(
        run for name in names for top in expand_glob(name) for run in find_run_folders(top, read)
    )
    for folder in folders:
        run = read_run(folder, tags, at, read)
        if run:
            read.runs.append(run)
    read.runs = drop_repeated_runs(read)
    return read


def expand_glob(name: str) -> list[Path]:
    """A folder, or all that a glob matches."""
    path = Path(name).expanduser()
    if path.is_dir():
        return [path.resolve()]
    if path.exists():
        raise InvalidCommand(name, None, "is a file", "name the run directory that it lies in")
    matches = sorted(Path(m).resolve() for m in glob.glob(str(path), recursive=True) if Path(m).is_dir())
    if not matches:
        raise InvalidCommand(
            name, None, "no such directory; runs lie in outputs/<date>/<run>/, sweeps in outputs/multirun"
        )
    return matches


def find_run_folders(top: Path, read: Found) -> Iterator[Path]:
    """The run directories in ``top``, itself included."""
    for here, folders, files in os.walk(top):
        folder = Path(here)
        if "study.json" in files:
            folders.clear()
        elif seeds := [name for name in folders if name.isdigit() and (folder / name / "job.json").exists()]:
            folders[:] = seeds
        elif any(mark in files or mark in folders for mark in MARKS):
            folders.clear()
            yield folder
        elif not folders and all(name.endswith(UNINTERESTING) for name in files):
            read.note(folder, "empty, left out")
        folders.sort(key=order_by_number)


def order_by_number(name: str) -> tuple[int, str]:
    """The jobs of a sweep in its order: ``2_seed=2`` before ``10_seed=10``."""
    match = re.match(r"[0-9]{1,9}(?=_|$)", name)
    return (int(match[0]) + 1 if match else 0, name)


def read_run(folder: Path, wanted: Sequence[str], at: int | None, read: Found) -> Run | None:
    """A run, or None after a note that says why not."""
    try:
        return read_parts(folder, wanted, at, read)
    except ValueError as error:
        read.note(folder, f"{error}, left out")
        return None


def read_parts(folder: Path, wanted: Sequence[str], at: int | None, read: Found) -> Run:
    """Raises ``ValueError`` where it is none, or one of its files is larger than any run's."""
    config, seed, words = read_configuration(folder)
    if "algo.name" not in config:
        raise ValueError("not a run of pgrun")
    summary, broken = read_summary(folder)
    finished = summary.get("status") == "finished"
    metrics = read_metrics(folder / "metrics.csv", wanted) if wanted or not finished else Metrics()
    score = last_evaluation(metrics, at, finished) if at is not None else final_return(summary)
    why = "" if score is not None else explain_missing_score(summary, broken, metrics, at)
    if why or metrics.note:
        read.note(folder, why, metrics.note)
    return Run(
        folder,
        config,
        typed_keys(words),
        int(seed),
        finished,
        score,
        metrics,
        words,
        read_versions(summary),
        find_last_write(folder),
    )


def read_versions(summary: dict[str, Any]) -> dict[str, str]:
    versions = summary.get("versions")
    return {str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {}


def find_last_write(folder: Path) -> float:
    """When the run ended, or was last seen at work: seconds since 1970."""
    places = (folder / name for name in (*MARKS, "."))
    return next(place.stat().st_mtime for place in places if place.exists())


def read_configuration(folder: Path) -> tuple[Flat, int, tuple[str, ...]]:
    """(settings, seed, typed words): what the policy was made with (a resumed run may have been extended),
    else what was started.
    """
    settings = recorded_settings(folder, "policy.json", "config") or recorded_settings(
        folder, "job.json", "settings"
    )
    try:
        if settings is not None:
            config, seed = flatten_comparable_settings(settings), settings.get("seed")
        else:
            config, seed = read_config(read_text(folder / ".hydra" / "config.yaml"))
    except OSError:
        raise ValueError("no .hydra/config.yaml") from None
    except atomic_files.TooLarge:
        raise
    except ValueError as error:
        raise ValueError(f".hydra/config.yaml is broken ({error})") from error
    if not isinstance(seed, int):
        raise ValueError("no seed in its configuration")
    hydra = next((place for place in (folder, folder.parent) if (place / ".hydra").is_dir()), folder)
    return config, seed, read_typed_words(hydra / ".hydra" / "overrides.yaml")


def recorded_settings(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    """The configuration in policy.json, of a run that has ended, or in job.json, of one that was started."""
    try:
        settings = read_json_or_empty(folder / name).get(key)
    except atomic_files.TooLarge:
        raise
    except (ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def read_text(path: Path) -> str:
    return atomic_files.read_bytes(path, links=True).decode(errors="replace")


def read_typed_words(path: Path) -> tuple[str, ...]:
    try:
        words = load_yaml(read_text(path))
    except atomic_files.TooLarge:
        raise
    except (OSError, ValueError, yaml.YAMLError):
        return ()
    return tuple(map(str, words)) if isinstance(words, list) else ()


def typed_keys(words: Sequence[str]) -> tuple[str, ...]:
    keys = (word.partition("=")[0].lstrip("+~").replace("/", ".") for word in words)
    return tuple(key for key in keys if key not in ("seed", "seeds"))


def read_json_or_empty(path: Path) -> dict[str, Any]:
    """Empty where there is none. Raises ValueError where it is broken."""
    try:
        content = atomic_files.read_json(path, links=True)
    except OSError:
        return {}
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def read_summary(folder: Path) -> tuple[dict[str, Any], bool]:
    """(summary.json, whether it is broken). Raises ``TooLarge``."""
    try:
        return read_json_or_empty(folder / "summary.json"), False
    except atomic_files.TooLarge:
        raise
    except (ValueError, RecursionError):
        return {}, True


def final_return(summary: dict[str, Any]) -> float | None:
    """The mean return of the final evaluation, if the run has finished with a finite one."""
    result = summary.get("eval")
    value = result.get("return_mean") if isinstance(result, dict) else None
    usable = summary.get("status") == "finished" and isinstance(value, int | float) and math.isfinite(value)
    return float(value) if usable and value is not None else None


def last_evaluation(metrics: Metrics, at: int, finished: bool) -> float | None:
    steps, values = metrics.track(EVAL)
    there = steps <= at
    if not there.any() or not (finished or metrics.last >= at):
        return None
    value = float(values[there][-1])
    return value if math.isfinite(value) else None


def explain_missing_score(summary: dict[str, Any], broken: bool, metrics: Metrics, at: int | None) -> str:
    """Why a run has no score."""
    status, reached = summary.get("status"), f"{metrics.last:,} steps so far"
    if broken:
        return "summary.json is broken, no score"
    if not summary:
        return f"unfinished, {reached}, no score"
    if status != "finished":
        error = str(summary.get("error", "")).partition("\n")[0][:100]
        return f"{status}{f' ({error})' if error else ''}, no score"
    return (
        f"no evaluation up to {at:,} steps, no score"
        if at is not None
        else "no finite final evaluation, no score"
    )


def drop_repeated_runs(read: Found) -> list[Run]:
    """One run for each configuration and seed: the same run twice is no second sample."""
    kept: dict[tuple[int, str], Run] = {}
    for run in read.runs:
        key = (run.seed, make_settings_key(run.config))
        before = kept.get(key)
        if before is None:
            kept[key] = run
            continue
        worse, better = sorted((before, run), key=lambda r: (r.score is not None, r.metrics.last))
        kept[key] = better
        read.note(
            worse.folder, f"the same configuration and seed as {shorten_folder(better.folder)}, left out"
        )
    return list(kept.values())
