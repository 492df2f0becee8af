"""Hydra's own settings: those that a command or a file may change, and what they must be for pgrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from pgrun.command.compose import Job
from pgrun.command.hydra_internals.sources import open_config_source
from pgrun.command.hydra_words import NOT_OURS, is_changeable
from pgrun.command.launcher_settings import find_wrong_launcher
from pgrun.command.overrides import Command
from pgrun.errors import Mistake

PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")  # where Hydra takes launchers and sweepers from
OWN_FOLDERS = (".hydra", "checkpoints")  # of a run


def find_wrong_hydra_settings(command: Command, job: Job) -> Iterator[Mistake]:
    """``job``: the first of the command."""
    typed = list(find_wrong_words(command))
    yield from typed or find_wrong_code(job.hydra)
    yield from find_wrong_names(command, job)
    yield from find_missing_sources(job.hydra)
    if command.multirun:
        yield from find_wrong_launcher(job)


def find_wrong_words(command: Command) -> Iterator[Mistake]:
    for word in command.words:
        if not word.key.startswith("hydra.") or "/" in word.text.partition("=")[0]:  # hydra/launcher=parallel
            continue
        if not is_changeable(word.key):
            yield Mistake(word.text, None, NOT_OURS)
        elif "_target_" in word.text:
            yield Mistake(
                word.text,
                None,
                "code is chosen by name, never by a path: hydra/launcher=… or hydra/sweeper=…",
            )


def find_wrong_code(hydra: DictConfig) -> Iterator[Mistake]:
    """What a file may have set: Hydra would find it once folders are there."""
    if hydra.callbacks:
        names = ", ".join(map(str, hydra.callbacks))
        yield Mistake(
            "hydra.callbacks",
            None,
            f"{names}: pgrun calls nobody's code at the ends of a run",
            "leave them out",
        )
    for part in ("launcher", "sweeper"):
        target = str(OmegaConf.to_container(hydra[part], resolve=False).get("_target_"))  # type: ignore[union-attr]
        if not target.startswith(PLUGINS):
            yield Mistake(
                f"hydra.{part}._target_", target, f"no {part} of Hydra's", f"choose one with hydra/{part}=…"
            )


def find_wrong_names(command: Command, job: Job) -> Iterator[Mistake]:
    """What is wrong with the names of folders and of the log."""
    hydra = job.hydra
    key = "hydra.sweep.dir" if command.multirun else "hydra.run.dir"
    top = str(hydra.sweep.dir if command.multirun else hydra.run.dir)
    if not top.strip(" \t\n\"'"):  # a name of quotes alone is an empty one that the shell has left them on
        yield Mistake(key, f"{top!r}", "the name of a folder is needed; . is this one")
    elif own := find_own_folder(Path(top)):
        yield Mistake(key, top, f"{own} belongs to the run in {own.parent}", "choose another folder")
    for folder in dict.fromkeys((Path(top), job.folder)):
        if Path(os.path.abspath(folder)).name in OWN_FOLDERS:
            own_names = " and ".join(OWN_FOLDERS)
            yield Mistake(
                str(folder), None, f"a run keeps files of its own in {own_names}", "choose another name"
            )
    if command.multirun:
        subdir = str(hydra.sweep.subdir)
        inside = os.path.normpath(subdir)
        if not subdir.strip() or inside == "." or os.path.isabs(inside) or inside.split(os.sep)[0] == "..":
            yield Mistake(
                "hydra.sweep.subdir",
                f"{subdir!r}",
                "each job needs a folder inside hydra.sweep.dir, such as ${hydra.job.num}",
            )
    name = str(hydra.job.name)
    if not name.strip() or "/" in name or len(os.fsencode(name)) > 200:
        yield Mistake(
            "hydra.job.name", f"{name!r}", "a name for the log is needed: at most 200 characters, without /"
        )


def find_own_folder(folder: Path) -> Path | None:
    """The folder in which a run keeps its own files, where ``folder`` is one or lies in it."""
    for place in (folder, *folder.absolute().parents):
        if place.name in OWN_FOLDERS and any(
            (place.parent / name).exists() for name in ("metrics.csv", "summary.json", *OWN_FOLDERS)
        ):
            return place
    return None


def find_missing_sources(hydra: DictConfig) -> Iterator[Mistake]:
    """Hydra only warns of a search path that leads nowhere, and composes without it."""
    for path in hydra.searchpath or ():
        try:
            there = open_config_source(str(path)).available()
        except Exception as error:
            yield Mistake("hydra.searchpath", None, f"{path}: {str(error).splitlines()[0]}")
            continue
        if not there:
            yield Mistake(
                "hydra.searchpath",
                None,
                f"{path} leads to nothing",
                (f"name a folder, as file://{str(path).rpartition('://')[2]}; --config-dir does the same"),
            )
