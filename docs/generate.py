"""Write what the documentation takes from the code: ``python docs/generate.py``; a test compares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pgrun.command.compose import compose_one, composing_with_hydra
from pgrun.command.foreign_answers import ForeignWord, answer_row, normalise_spelling, quote_words
from pgrun.command.foreign_names import FOREIGN_NAMES, FOREIGN_OPTIONS, TAGS, TOOLS, ForeignName
from pgrun.command.overrides import CliOverride
from pgrun.config.describe_settings import describe_settings, own_doc
from pgrun.config.paths import conf_dir
from pgrun.config.schema import GROUPS, find_class, format_value
from pgrun.config.settings import Diagnostics, Logger, Reference, RunSettings, Trainer
from pgrun.envs import EnvSettings

DOCS = Path(__file__).parent
CONF = conf_dir()
COMMENT = re.compile(r"^ *(\w+):.*?\s# (.+)$", re.M)
SECTIONS = {
    "env": (EnvSettings, "env/CartPole-v1.yaml"),
    "reference": (Reference, "config.yaml"),
    "trainer": (Trainer, "trainer/default.yaml"),
    "diagnostics": (Diagnostics, "diagnostics/default.yaml"),
    "logger": (Logger, "logger/default.yaml"),
}
SETTINGS_INTRO = """\
# Settings

Every setting with the values that it takes, its default and its meaning, written from the classes by
`python docs/generate.py`. `pgrun algo=ppo --cfg job` shows the values of one command.

An algorithm or a tuned file may propose another value for a default with a star: `pgrun algo=a2c` takes
`sampler.steps=5`. What is typed on the command line wins. `pgrun --list` shows what goes together; a
setting that nothing reads is refused. The critic's own optimizer is chosen as `critic/optimizer=adam` and
set as `critic.optimizer.lr`.
"""


@cache
def settings_of(context: str) -> dict[str, Any]:
    with composing_with_hydra():
        return compose_one([CliOverride.read(word) for word in context.split()], False, 0).settings


def typed_there(name: str, example: str) -> str:
    """A name with its value, as its tool takes it."""
    if not example:
        return name if name.startswith("-") else f"{name}=true"
    return f"{name} {quote_words(example)}" if name.startswith("-") else f"{name}={quote_words(example)}"


def answer_example(row: ForeignName, name: str) -> tuple[str, str]:
    """(the words here, the note) for a row's own example."""
    word = ForeignWord(name, normalise_spelling(name), row.example)
    return answer_row(row, word, settings_of(row.context), {word.name: row.example})


def tool_rows(field: str) -> Iterator[str]:
    for row in FOREIGN_NAMES:
        if names := row.names(field):
            words, note = answer_example(row, names[0])
            first, *more = (typed_there(names[0], row.example), *(f"`{name}`" for name in names[1:]))
            here = f"`{quote_words(words)}`" if words else "–"
            notes = [*([f"with `{row.context}`"] if row.context else []), *([note] if note else [])]
            yield f"| {', '.join([f'`{first}`', *more])} | {here} | {'; '.join(notes).replace('|', ', ')} |"


def tool_table(field: str) -> str:
    return "\n".join(["| there | here | |", "|---|---|---|", *tool_rows(field)])


def option_table() -> str:
    lines = ["| there | here |", "|---|---|"]
    for group, names in FOREIGN_OPTIONS.items():
        for name, words in names.items():
            lines.append(f"| `{group}={name}` | `{words}` |")
    return "\n".join(lines)


def tag_table() -> str:
    head = ["here", *TOOLS.values()]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for tag, *theirs in TAGS:
        cells = [f"`{tag}`", *(f"`{name}`" if name else "" for name in theirs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fill_marks(text: str, tables: dict[str, str]) -> str:
    """The text with each table between its marks, ``<!-- NAME -->`` and ``<!-- end -->``."""

    def put(match: re.Match[str]) -> str:
        return f"{match[1]}\n{tables[match[2]]}\n{match[3]}"

    return re.sub(r"(<!-- (\w+) -->)\n.*?(<!-- end -->)", put, text, flags=re.S)


def coming_from() -> str:
    tables = {field: tool_table(field) for field in TOOLS}
    tables |= {"options": option_table(), "tags": tag_table()}
    return fill_marks((DOCS / "coming-from.md").read_text(), tables)


def settings_table(key: str, cls: type, file: Path) -> Iterator[str]:
    """A row for each setting of a class; defaults are those of its file in conf/."""
    values, notes = default_values(file, key), dict(COMMENT.findall(file.read_text()))
    shown = [setting for setting in describe_settings(cls) if setting.name in values]
    if not shown:
        yield "No settings."
        return
    yield from ("| setting | values | default | meaning |", "|---|---|---|---|")
    for setting in shown:
        name, meaning = f"{key}.{setting.name}".lstrip("."), setting.meaning or notes.get(setting.name, "")
        default = show_default(values[setting.name])
        cells = (f"`{name}`", setting.allowed, f"`{default}`" if default else "see below", meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def default_values(file: Path, key: str) -> dict[str, Any]:
    """What a file of conf/ sets, as it stands there."""
    content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    actual = content.get(key, content) if key else content
    return {str(name): value for name, value in actual.items()}


def show_default(value: Any) -> str:
    """As it is typed. Where a file of an algorithm may propose another: ``3e-4 *``."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(show_default, value))}]"
    if isinstance(value, dict):
        return "{}"
    proposed = re.fullmatch(r"\$\{oc\.select:([\w.]+),(.*)\}", str(value))
    if proposed:
        return f"{proposed[2].replace(' ', '')} *"
    same = re.fullmatch(r"\$\{([\w.]+)\}", str(value))
    return f"that of {same[1]}" if same else format_value(value)


def settings_page() -> Iterator[str]:
    yield SETTINGS_INTRO
    yield "## Every run\n"
    yield from settings_table("", RunSettings, CONF / "config.yaml")
    for key, (cls, file) in SECTIONS.items():
        yield f"\n## {key}\n"
        yield from settings_table(key, cls, CONF / file)
    for group in GROUPS:
        for file in sorted((CONF / group).glob("*.yaml")):
            cls = find_class(group, file.stem)
            yield f"\n## {group}={file.stem}\n"
            yield f"{first_paragraph(cls)}\n"
            yield from settings_table(group, cls, file)


def first_paragraph(cls: type) -> str:
    text = " ".join(own_doc(cls).split("\n\n")[0].split())
    return re.sub(r"[:,]$", ".", text).replace("``", "`").replace("|", "\\|")


def settings() -> str:
    return "\n".join(settings_page()) + "\n"


PAGES = {"coming-from.md": coming_from, "settings.md": settings}


def main() -> None:
    for name, write in PAGES.items():
        (DOCS / name).write_text(write())


if __name__ == "__main__":
    main()
