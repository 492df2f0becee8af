"""``pgrun algo=ppo --help``: the settings of the options that a command names, as their classes have them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pgrun.command.compose import Job, compose_jobs
from pgrun.command.overrides import CliOverride, Command
from pgrun.command.preflight import refuse_all
from pgrun.command.setting_check import check_modules, group_values
from pgrun.config.describe_settings import Setting, describe_settings, own_doc
from pgrun.config.own_classes import is_own
from pgrun.config.schema import GROUPS, find_class, format_value
from pgrun.config.settings import Diagnostics, Logger, Trainer
from pgrun.errors import Mistake, escape_line
from pgrun.terminal.printing import text_width

FIXED = {"trainer": Trainer, "diagnostics": Diagnostics, "logger": Logger}  # one class for all options
INDENT = "      "
COMMENT = re.compile(r"^(\w+):.*?\s# (.+)$", re.M)


def find_options(command: Command, places: list[Path]) -> list[CliOverride]:
    """The words that choose an option of a group, such as ``algo=ppo``."""
    return [
        word
        for word in command.words
        if isinstance(word.value, str)
        and any((place / group_of(word)).is_dir() for place in places)
        and not word.key.startswith("hydra.")
    ]


def group_of(word: CliOverride) -> str:
    return word.key.replace(".", "/")


def option_help(command: Command, options: list[CliOverride], places: list[Path]) -> str:
    """Each option's settings: what may be typed, what it is in this command, what it means.

    Raises ``InvalidCommand`` where the command does not compose.
    """
    jobs = compose_jobs(command)
    refuse_all([*command.problems, *jobs.problems], command.app.name)
    job = jobs.composed[0]
    refuse_all([*check_modules(job.settings)] or [*find_own_mistakes(options, job)], command.app.name)
    told = [describe_option(word, job, places) for word in dict.fromkeys(options)]
    tuned = job.settings.get("tuned")
    source = f"Values are those of this command{f', with conf/{tuned}' if tuned else ''}."
    return "\n\n".join([*told, source])


def find_own_mistakes(options: list[CliOverride], job: Job) -> Iterator[Mistake]:
    """What is wrong with classes of the user's that are to be described, or with what names one."""
    for word in options:
        try:
            cls = class_of(word, job)
        except LookupError as error:
            yield Mistake.of(error)
            continue
        if cls is not None and is_own(cls):
            group = word.key.rsplit(".", 1)[-1]
            yield from group_values(word.key, group, value_at(job.settings, word.key), job.settings)


def describe_option(word: CliOverride, job: Job, places: list[Path]) -> str:
    files = [place / group_of(word) / f"{word.value}.yaml" for place in places]
    file = next((path for path in files if path.is_file()), None)
    cls = class_of(word, job)
    if cls is None:  # settings of other groups, in a file
        return f"{word.shown}\n\n{textwrap.indent(file.read_text().rstrip(), INDENT)}" if file else word.shown
    notes = dict(COMMENT.findall(file.read_text())) if file else {}
    given = value_at(job.settings, word.key)
    about = escape_line(first_paragraph(cls))
    lines = [f"{word.shown}: {about}" if about else word.shown]
    for setting in describe_settings(cls):
        if setting.name in given and not has_options(f"{word.key}/{setting.name}", places):
            lines += describe_setting(word.key, setting, given[setting.name], notes.get(setting.name, ""))
    return "\n".join(
        [wrap_help_text(lines[0], "  "), "", *lines[1:]] if len(lines) > 1 else [*lines, "  no settings"]
    )


def has_options(group: str, places: list[Path]) -> bool:
    """A group in a group, such as the critic's optimizer: it has a help of its own."""
    return any((place / group).is_dir() for place in places)


def class_of(word: CliOverride, job: Job) -> type | None:
    group = word.key.rsplit(".", 1)[-1]  # critic.optimizer is an optimizer
    if group in FIXED:
        return FIXED[group]
    if group == "env":
        from pgrun.envs import EnvSettings

        return EnvSettings
    if group not in GROUPS:
        return None
    name = str(value_at(job.settings, word.key).get("name", word.value))
    return find_class(group, name, tuple(job.settings["modules"]))


def value_at(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    here: Any = settings
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return dict(here) if isinstance(here, Mapping) else {}


def first_paragraph(cls: type) -> str:
    doc = re.split(r"\n\s*\n", own_doc(cls))[0]
    return " ".join(doc.replace("``", "").split())


def describe_setting(key: str, setting: Setting, value: Any, note: str) -> Iterator[str]:
    """``algo.clip=0.2`` and what it may be; below it what it means."""
    yield f"  {key}.{setting.name}={show_value(value)}    {setting.allowed}"
    if meaning := setting.meaning or note:
        yield wrap_help_text(INDENT + meaning, INDENT)


def show_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_value, value))}]"
    return format_value(value)


def wrap_help_text(text: str, indent: str) -> str:
    return textwrap.fill(
        text, text_width(), subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
