"""``resume=auto`` and ``resume=retry``: what of a command was done before, in the folder that it names.

Every job writes its settings to ``job.json`` when it starts. A job of the command is the same as one in the folder where all
settings and the seed agree; it then lies where the command wants it, moved there if the sweep has grown. What was done is left
to the job itself (``job.guarded``): it returns the result that it has, or goes on from its checkpoint, or starts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgrun import atomic_files
from pgrun.command.app import App
from pgrun.command.compose import Job
from pgrun.command.overrides import Command
from pgrun.command.search_settings import searched
from pgrun.errors import Refused, escape_line
from pgrun.storage.versions import installed_versions
from pgrun.terminal.printing import say
from pgrun.terminal.signals import STOP

SETTINGS = "job.json"
HOW = ("auto", "retry")
NEUTRAL = ("logger.progress", "trainer.checkpoint_every", "env.restart")  # change nothing in a run
SHOWN = 6  # differing settings in a message
WITH_VALUE = ("finished", "pruned")  # how a job may have ended
WITHOUT_VALUE = ("failed", "killed", "interrupted", "not run")

Flat = dict[str, Hashable]


def taken(command: Command) -> tuple[Command, str | None]:
    """(the command without its ``resume=auto``, which is ours and not Hydra's; ``auto``, ``retry`` or None)."""
    how = [str(word.value) for word in command.words if word.key == "resume" and word.value in HOW]
    if not how:
        return command, None
    words = [word for word in command.words if word.key != "resume"]
    setting = "hydra.sweep.dir" if command.multirun else "hydra.run.dir"
    if not any(word.key == setting for word in words):
        raise Refused(f"resume={how[-1]}: in which folder? {example(command, setting)}")
    return replace(command, words=words), how[-1]


def example(command: Command, setting: str) -> str:
    """What to type: with the newest sweep below the usual folder, if there is one."""
    name = command.app.name + (" -m" if command.multirun else "")
    found = sorted(Path().glob("outputs/multirun/*/*" if command.multirun else "outputs/2*/*"))
    folder = found[-1] if found and command.app.name == "pgrun" else Path("FOLDER")
    return f"type the same command with its folder: {name} … resume=auto {setting}={folder}"


def settle(jobs: Sequence[Job], command: Command, how: str) -> None:
    """Every job of the command in its folder, ready to go on. Raises ``Refused`` and then has changed nothing."""
    if searched(command):
        from pgrun.runs.search.resume_search import settle

        return settle(jobs, command, how)
    app, top = command.app, Path(jobs[0].hydra.sweep.dir) if command.multirun else jobs[0].folder
    held = {path.parent: flat(read(path)["settings"]) for path in sorted(top.rglob(SETTINGS))}
    wanted = {job.folder: flat(job.settings) for job in jobs}
    idle(held)
    held = {
        folder: settings for folder, settings in held.items() if folder.parent not in held
    }  # no runs of `seeds`
    if not command.multirun:
        refuse_folder_of_jobs(top, list(held))
    moves = moved(held, wanted)
    for folder in wanted:
        if folder in moves.values():
            continue
        if folder not in held and folder not in moves and any((folder / name).exists() for name in app.files):
            raise Refused(f"{folder} holds a run, but no {SETTINGS} that says which: choose another folder")
        if folder in held and held[folder] != wanted[folder]:
            which = "of the sweep, more values after those it has" if command.multirun else "that it has"
            raise Refused(
                f"{folder} holds a {'job' if command.multirun else 'run'} with {changes(held[folder], wanted[folder])}: "
                f"type the settings {which}, or choose another folder"
            )
    move(moves, top)
    (top / STOP).unlink(missing_ok=True)
    if how == "retry":
        forget_failures(wanted, app)
    say(f"resume={how}: {told(wanted, app)}")


def refuse_folder_of_jobs(folder: Path, held: Sequence[Path]) -> None:
    """One run has the folder to itself: jobs below it are a sweep's."""
    if held and folder not in held:
        raise Refused(
            f"{folder} holds {len(held)} jobs, of a sweep: go on with them by pgrun -m … resume=auto hydra.sweep.dir={folder}, "
            "with one by its own folder, or choose another folder"
        )


def moved(held: Mapping[Path, Flat], wanted: Mapping[Path, Flat]) -> dict[Path, Path]:
    """{folder where the command wants a job: folder that holds it now}."""
    spare: dict[frozenset[Any], list[Path]] = {}
    for folder, settings in held.items():
        if wanted.get(folder) != settings:
            spare.setdefault(frozenset(settings.items()), []).append(folder)
    missing = {folder: frozenset(s.items()) for folder, s in wanted.items() if held.get(folder) != s}
    return {folder: spare[key].pop(0) for folder, key in missing.items() if spare.get(key)}


def move(moves: Mapping[Path, Path], top: Path) -> None:
    """By way of names that nobody has; after a crash in between they are found again, by what is in them."""
    aside = {to: top / f".moved-{number}" for number, to in enumerate(moves)}
    for to, at in moves.items():
        at.rename(aside[to])
    for to, at in aside.items():
        to.parent.mkdir(parents=True, exist_ok=True)
        at.rename(to)


def idle(held: Mapping[Path, Flat]) -> None:
    """Raises ``Refused`` where a process is still training."""
    from pgrun.training.saver import alone

    for folder in held:
        if (folder / ".lock").exists():
            with alone(folder):
                pass


def forget_failures(folders: Mapping[Path, Flat], app: App) -> None:
    for place in (place for folder in folders for place in folder.rglob(app.result)):
        if result(place.parent, app)["status"] == "failed":
            place.unlink()


def told(folders: Mapping[Path, Flat], app: App) -> str:
    """``3 finished, 1 killed, 2 not run``."""
    count = Counter(result(folder, app)["status"] for folder in folders)
    return ", ".join(f"{number} {status}" for status, number in count.items())


def result(folder: Path, app: App) -> dict[str, Any]:
    """What a job's folder says of how it ended; one that died without a word was killed."""
    if (folder / app.result).exists():
        found = read(folder / app.result)
        if is_result(found, app):
            return found
    if (folder / SETTINGS).exists():
        return {"status": "killed", "error": "died without a word"}
    return {"status": "not run", "error": "the sweep ended before"}


def is_result(found: Mapping[str, Any], app: App) -> bool:
    """Whether a result file says what is read out of it: it is data from anywhere."""
    runs = found.get("runs", [])
    if found.get("status") not in (*WITH_VALUE, *WITHOUT_VALUE) or not isinstance(runs, list):
        return False
    if found["status"] in WITHOUT_VALUE:
        return isinstance(found.get("error"), str)
    try:
        values = [
            app.call("value")(found),
            *(run["return_mean"] for run in runs if run["status"] == "finished"),
        ]
        seeds = [run["seed"] for run in runs] or [found["seed"]]
    except (LookupError, TypeError, AttributeError, ValueError):
        return False
    return all(isinstance(x, int | float) for x in values) and all(type(seed) is int for seed in seeds)


def read(place: Path) -> dict[str, Any]:
    """Empty where it cannot be read."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(atomic_files.read(place))
        if isinstance(found, dict):
            return {"settings": {}, **found}
    return {"settings": {}}


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    atomic_files.write_json(folder / SETTINGS, {"settings": settings, "versions": dict(installed_versions())})


def flat(settings: Any) -> Flat:
    """Every setting by its key; numbers that are equal are, however they were typed."""
    if not isinstance(settings, Mapping):
        return {}
    found: Flat = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": inner for name, inner in flat(value).items()}
        else:
            found[str(key)] = value if isinstance(value, Hashable) else json.dumps(value)
    return {key: value for key, value in found.items() if key not in NEUTRAL}


def differing(old: Any, new: Any) -> str:
    """What two configurations do not have in common; empty where they are the same."""
    return "" if flat(old) == flat(new) else changes(flat(old), flat(new))


def changes(old: Flat, new: Flat) -> str:
    """``optimizer.lr=0.1, not 0.2; seed=1, not 0``."""
    keys = [key for key in {**old, **new} if old.get(key, "unset") != new.get(key, "unset")]
    texts = [f"{key}={old.get(key, 'unset')}, not {new.get(key, 'unset')}" for key in keys[:SHOWN]]
    return "; ".join(map(escape_line, texts)) + (
        f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    )
