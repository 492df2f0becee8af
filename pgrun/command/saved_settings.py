"""``from=RUN_DIR`` and ``--config FILE``: settings that were saved, then those of the command line.

They become words, as if they had been typed, so that they are read, checked and refused as any others. A run
directory and a file are data from anywhere: they choose options by name and set values, and code of the
user's is loaded only where the command itself names it, as in a resume.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pgrun import atomic_files
from pgrun.command.app import PGRUN, App
from pgrun.command.compose import compose_one, composing_with_hydra
from pgrun.command.overrides import CliOverride, Command, hydra_word, read_command
from pgrun.command.saved_options import find_config_dir_to_name_again
from pgrun.command.setting_check import classes_chosen
from pgrun.command.unused_settings import find_unused_settings
from pgrun.config.plain_yaml import load_yaml
from pgrun.errors import InvalidCommand, escape_line, join_lines
from pgrun.storage.newest_run import LAST, newest_folder
from pgrun.training.identity import find_code_to_name_again

OPTIONS = {  # group: the setting that names its option
    **dict.fromkeys(("algo", "variance", "critic", "critic.optimizer", "sampler"), "name"),
    **{"optimizer": "name", "network": "name", "env": "id"},
}
NOT_TAKEN = ("usual", "tuned", "ablate", "modules", "resume")  # what they did is in the values themselves
KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
OPTION = re.compile(r"[A-Za-z][\w-]*([:/][A-Za-z][\w.-]*)*", re.ASCII)
PLAIN = re.compile(r"[A-Za-z][\w-]*", re.ASCII)  # text that needs no quotes, but for
OTHERWISE = ("true", "false", "null", "nan", "inf")
MOST = 500  # settings
Flat = dict[str, Any]


def expand_saved_settings(argv: list[str], app: App = PGRUN) -> list[str]:
    """The command, with what ``from=`` or ``--config`` names as words. Raises ``InvalidCommand``."""
    rest, sources = split_sources(argv)
    if not sources or app.config != PGRUN.config:
        return argv
    if len(sources) > 1:
        raise InvalidCommand(" ".join(sources), None, "one of them")
    command = read_command(rest, app)
    for word in command.words:
        if word.key in ("experiment", "resume") and word.value not in (None, "auto", "retry"):
            raise InvalidCommand(f"{sources[0]} {word.shown}", None, "one of them")
    source = name_newest_run(sources[0], app)
    saved = flatten_saved(read_source(source), source)
    refuse_code(saved, command, source, rest)
    return [*find_words(saved, command, source), *rest]


def split_sources(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the other words, ``from=…`` and ``--config=…``)."""
    rest, sources, left = list[str](), list[str](), list(argv)
    while left:
        word = left.pop(0)
        if word == "--config":
            if not left:
                raise InvalidCommand("--config", None, "the name of a file is needed: --config my.yaml")
            sources.append(f"--config={left.pop(0)}")
        elif word.startswith(("from=", "--config=")):
            sources.append(word)
        else:
            rest.append(word)
    return rest, sources


def name_newest_run(source: str, app: App) -> str:
    """``from=last`` with that run's folder, which is looked for, and told, once."""
    if source != f"from={LAST}":
        return source
    return f"from={newest_folder(f'{app.name} from=')}"


def read_source(source: str) -> dict[str, Any]:
    """The settings in a run directory or a file, as plain data."""
    kind, _, name = source.partition("=")
    if kind == "from":
        return read_run_settings(Path(name), source)
    try:
        content = load_yaml(atomic_files.read_bytes(Path(name), links=True, most=atomic_files.OTHERS))
    except OSError as error:
        raise InvalidCommand(source, None, error.strerror or error) from error
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidCommand(source, None, f"cannot be read: {join_lines(error)}") from error
    if not isinstance(content, dict):
        raise InvalidCommand(source, None, "holds no settings", f"write them as in pgrun --cfg job > {name}")
    inner = content.get("settings")  # of a job.json
    return inner if isinstance(inner, dict) else content


def read_run_settings(folder: Path, source: str) -> dict[str, Any]:
    """What a run was started with."""
    if not folder.is_dir():
        raise InvalidCommand(source, None, "no such folder")
    for name, key in (("job.json", "settings"), ("policy.json", "config")):
        try:
            settings = atomic_files.read_json(folder / name, links=True)[key]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if isinstance(settings, dict) and settings:
            return settings
    raise InvalidCommand(source, None, "no settings of a run in it", "name a run directory, with a job.json")


def flatten_saved(settings: Mapping[str, Any], source: str) -> Flat:
    """Leaves by their key, ``critic/optimizer`` as ``critic.optimizer``; an option that is chosen by its name
    alone, ``algo: ppo``, has it where the others have theirs.
    """
    flat: Flat = {}
    for key, value in iterate_saved_settings(settings, source):
        key = f"{key}.{OPTIONS[key]}" if key in OPTIONS and isinstance(value, str) else key
        if key.split(".")[0] not in NOT_TAKEN or key == "modules":
            flat[key] = value
        if len(flat) > MOST:
            raise InvalidCommand(source, None, f"more than {MOST} settings")
    return flat


def iterate_saved_settings(
    part: Mapping[Any, Any], source: str, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        key = f"{prefix}{name}".replace("/", ".")
        if not KEY.fullmatch(key) or depth > 8:
            raise InvalidCommand(source, None, f"{escape_line(key)[:100]!r}: no name of a setting")
        if isinstance(value, Mapping) and value:
            yield from iterate_saved_settings(value, source, f"{key}.", depth + 1)
        elif not isinstance(value, Mapping):
            yield key, value


def refuse_code(saved: Flat, command: Command, source: str, argv: Sequence[str]) -> None:
    """Code of the user's, and the folder of their options, have to be named on the command line."""
    named = {word.key: word.value for word in command.words}
    modules = saved.pop("modules", None)
    known = modules if isinstance(modules, list | tuple) else []
    wanted = {"env": {"id": saved.get("env.id", "")}, "modules": [str(name) for name in known]}
    missing = [escape_line(word) for word in find_code_to_name_again(wanted, named)]
    kind, _, name = source.partition("=")
    if kind == "from":
        groups = [group for group in OPTIONS if not is_chosen_by_command([*named], group)]
        chosen = [(group.replace(".", "/"), str(saved.get(f"{group}.{OPTIONS[group]}"))) for group in groups]
        missing += find_config_dir_to_name_again(chosen, Path(name), argv)
    if missing:
        raise InvalidCommand(source, None, "code of yours has to be named again", f"add {' '.join(missing)}")


def find_words(saved: Flat, command: Command, source: str) -> list[str]:
    """The options and values that the command does not choose itself, without those that it has anyway."""
    typed = [word.key for word in command.words]
    options = {
        group: format_choice(group.replace(".", "/"), saved[f"{group}.{name}"], source)
        for group, name in OPTIONS.items()
        if f"{group}.{name}" in saved and not is_chosen_by_command(typed, group)
    }
    if "tuned" not in typed:
        options["tuned"] = "tuned=none"
    single = [word.text for word in command.words if word.value is not None and not is_hydra(word)]
    kept = [word for word in single if CliOverride.read(word).key in (*OPTIONS, "tuned", "modules")]
    with composing_with_hydra(command.config_dir, command.app):
        chosen = [*options.values(), *kept]
        base = compose_base(chosen, source)
        now = dict(iterate_saved_settings(base, source))
        taken = {
            key: value
            for key, value in saved.items()
            if not is_chosen_by_command(typed, key)
            and not is_option_name(key)
            and not is_seed_typed(key, typed)
        }
        for key in taken:
            if key not in now and not key.startswith("env.kwargs."):
                raise InvalidCommand(
                    source, None, f"{key}: no such setting; pgrun --cfg job shows those there are"
                )
        differing = {key: v for key, v in taken.items() if key not in now or not is_equal(now[key], v)}
        words = {key: format_word(key, value, source) for key, value in differing.items()}
        whole = compose_base([*chosen, *map(as_override, words.values())], source)
    return [word for word in (*options.values(), *words.values()) if is_read(word, whole)]


def is_chosen_by_command(typed: Sequence[str], key: str) -> bool:
    """Whether the command says it itself: the setting, or the option that it is of."""
    return any(key == word or key.startswith(f"{word}.") for word in typed)


def is_option_name(key: str) -> bool:
    group, _, name = key.rpartition(".")
    return OPTIONS.get(group) == name


def is_seed_typed(key: str, typed: Sequence[str]) -> bool:
    return key in ("seed", "seeds") and any(word in ("seed", "seeds") for word in typed)


def is_hydra(word: CliOverride) -> bool:
    return word.key.startswith("hydra.")


def is_equal(a: Any, b: Any) -> bool:
    """Numbers that are equal are, however they were written; true is no 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def compose_base(words: Sequence[str], source: str) -> dict[str, Any]:
    try:
        return compose_one([CliOverride.read(word) for word in words], False, 0).settings
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        told = str(error).strip().splitlines()[0]
        raise InvalidCommand(source, None, f"its settings do not go with the command's: {told}") from error


def is_read(word: str, settings: Mapping[str, Any]) -> bool:
    """A word that nothing reads would be refused, and was not typed by anybody."""
    return not list(
        find_unused_settings([CliOverride.read(as_override(word))], settings, classes_chosen(settings), None)
    )


def as_override(word: str) -> str:
    return f"++{word}" if word.startswith("env.kwargs.") else word


def format_choice(group: str, name: Any, source: str) -> str:
    """``group=name``; what is no name of an option would be a path, or several."""
    if not OPTION.fullmatch(str(name)):
        raise InvalidCommand(source, None, f"{group}={escape_line(str(name))[:100]}: no name of an option")
    return f"{group}={name}"


def format_word(key: str, value: Any, source: str) -> str:
    """``key=value`` that means this value and nothing else."""
    if isinstance(value, str):
        if "${" in value:
            shown = escape_line(value)[:100]
            raise InvalidCommand(
                source, None, f"{key}={shown}", "write the value itself, it may refer to nothing"
            )
        plain = PLAIN.fullmatch(value) and value.lower() not in OTHERWISE
        return f"{key}={value}" if plain else hydra_word(key, value)
    return f"{key}={format_plain(value, key, source)}"


def format_plain(value: Any, key: str, source: str) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int | float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(format_plain(x, key, source) for x in value)}]"
    if isinstance(value, str):
        return format_word("x", value, source).partition("=")[2]
    if isinstance(value, Mapping):
        pairs = (
            f"{format_word('x', str(k), source).partition('=')[2]}:{format_plain(v, key, source)}"
            for k, v in value.items()
        )
        return f"{{{','.join(pairs)}}}"
    raise InvalidCommand(source, None, f"{key}: a {type(value).__name__} is no setting")
