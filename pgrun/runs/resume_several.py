"""``pgrun resume=SWEEP_DIR``: the whole sweep, or all seeds of a run, go on.

A folder of several runs holds the words that started it. They are read as data and typed again here, with
``resume=auto`` behind them. What could execute something, or call a launcher's own settings, is not taken
from a folder: the command has to name it again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException

from pgrun import atomic_files
from pgrun.command.app import PGRUN, App
from pgrun.command.overrides import PLACES, CliOverride, shell_word
from pgrun.command.saved_options import find_config_dir_to_name_again
from pgrun.config.plain_yaml import load_yaml
from pgrun.envs.wrappers import find_user_modules
from pgrun.errors import InvalidCommand, escape_line, join_lines
from pgrun.runs.job_status import read_json_object
from pgrun.runs.resume_sweep import HOW
from pgrun.storage.newest_run import LAST, SWEEP, find_newest, is_several_runs
from pgrun.terminal.printing import say, shorten_folder

SEEDS = Path(".hydra", "overrides.yaml")  # the words of a run with several seeds
COMMANDS = (PGRUN.name, "pgrun-study")  # that leave a sweep.json, which is data from anywhere
CHOICES = ("hydra.launcher", "hydra.sweeper")
WORD = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@:-]*=", re.ASCII)  # of a setting: no flag
HARMLESS = re.compile(r"true|false|-?\d+(\.\d*)?(e-?\d+)?", re.I)


def complete_resume(argv: Sequence[str], app: App = PGRUN) -> list[str]:
    """``resume=FOLDER`` of several runs as the command that started them, with ``resume=auto``; any other
    command as it is. Words that are typed beside it replace those of the folder. Raises ``InvalidCommand``.
    """
    asked = [word for word in argv if word.startswith("resume=")]
    folder = folder_of_several(asked[0].partition("=")[2]) if len(asked) == 1 and app is PGRUN else None
    if folder is None:
        return list(argv)
    typed = [word for word in argv if word not in (*asked, "-m", "--multirun")]
    sweep = (folder / SWEEP).is_file()
    refuse_sweep_of_other_command(asked[0], folder, app)
    saved = [word for word in read_saved_words(folder, sweep) if key_of(word) not in map(key_of, typed)]
    executing = list(find_words_to_name_again(saved))
    executing += find_config_dir_to_name_again(split_choices(saved), folder, typed)
    if executing:
        raise InvalidCommand(
            asked[0],
            None,
            f"{folder} was started with what is not taken from a folder, and has to be named again",
            f"add {' '.join(executing)}",
        )
    place = "hydra.sweep.dir" if sweep else "hydra.run.dir"
    what = "a sweep" if sweep else "several seeds"
    shown = shlex.join([*saved, *typed])
    say(f"{app.name}: {shorten_folder(folder)} is {what}; all of it goes on: {escape_line(shown)}")
    return [*["-m"] * sweep, *saved, *typed, "resume=auto", f"{place}={folder}"]


def refuse_sweep_of_other_command(word: str, folder: Path, app: App) -> None:
    """Its words are those of that command. Raises ``InvalidCommand``."""
    name = read_json_object(folder / "sweep.json").get("command", app.name)
    if name in COMMANDS and name != app.name:
        raise InvalidCommand(
            word,
            None,
            f"is a sweep of {name}",
            f"type the command that started it, with resume=auto: {name} -m … resume=auto "
            f"{shell_word('hydra.sweep.dir', folder)}",
        )


def split_choices(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(group, option) of each option that words may choose, several in a sweep: ``variance=none,gae``."""
    for word in words:
        key, _, value = word.partition("=")
        yield from ((key.lstrip("+").partition("@")[0], name.strip()) for name in value.split(","))


def folder_of_several(name: str) -> Path | None:
    """The folder that is meant, where it holds several runs."""
    if name in HOW:
        return None
    if name == LAST:
        newest = find_newest()
        return newest.folder if newest and newest.several else None
    folder = Path(name if Path(name).is_dir() else name.strip("'\""))
    return folder if folder.is_dir() and is_several_runs(folder) else None


def read_saved_words(folder: Path, sweep: bool) -> list[str]:
    """The command's words, Hydra's own among them. Raises ``InvalidCommand``."""
    file = folder / (SWEEP if sweep else SEEDS)
    try:
        content = load_yaml(atomic_files.read_bytes(file, most=atomic_files.OTHERS))
        typed = content["hydra"]["overrides"] if sweep else {"task": content, "hydra": []}
        words = [*typed["task"], *typed["hydra"]]
        if not all(isinstance(word, str) and WORD.match(word) for word in words):
            raise ValueError("no words of a command")
        if sweep and holds_one_job(content["hydra"]):
            raise ValueError("it holds the words of one job, as pgrun wrote it before")
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise InvalidCommand(
            "resume",
            folder,
            f"{file} cannot be read ({join_lines(error)})",
            "type the command that started it, with resume=auto "
            f"hydra.{'sweep' if sweep else 'run'}.dir={folder}",
        ) from error
    by_hydra = (*PLACES, "hydra.mode")  # which other launchers and sweepers write beside what was typed
    return [word for word in words if key_of(word) not in (*by_hydra, "resume")]


def holds_one_job(hydra: Mapping[str, Any]) -> bool:
    """Whether it is the first job's configuration: sweeps in turn left that once. Hydra's own sweepers and
    launchers write the whole sweep's.
    """
    plugins = [hydra.get(part, {}).get("_target_", "") for part in ("launcher", "sweeper")]
    return hydra["mode"] != "MULTIRUN" and all("core_plugins.basic_" in name for name in plugins)


def key_of(word: str) -> str:
    """``critic.optimizer`` of ``critic/optimizer=sgd``, ``env.kwargs.x`` of ``++env.kwargs.x=1``."""
    key = word.partition("=")[0].lstrip("+~").replace("/", ".")
    return "env" if key == "env.id" else key


def find_words_to_name_again(words: Sequence[str]) -> Iterator[str]:
    """Those that load code or look something up (``${…}``), and settings of Hydra that are more than a
    launcher's name or a number.
    """
    for word in words:
        key, value = key_of(word), word.partition("=")[2]
        plain = value.isidentifier() if key in CHOICES else HARMLESS.fullmatch(value)
        if loads_code(key, value) or "${" in value or (key.startswith("hydra.") and not plain):
            yield escape_line(shlex.quote(word))


def loads_code(key: str, value: str) -> bool:
    """``modules``, ``env=module:Id`` and wrappers ``module:Class``; of wrappers in a form that is not a plain
    list, whatever could be one.
    """
    if key == "env.wrappers" and ":" in value:
        try:
            return bool(find_user_modules(CliOverride.read(f"wrappers={value}").value or [value]))
        except (HydraException, InvalidCommand):
            return True
    places = key == "env" or key.startswith("env.wrappers")
    return key.partition(".")[0] == "modules" or (places and ":" in value)
