"""The words of a command: Hydra's flags and the settings, read but not yet composed."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from pgrun.command.app import PGRUN, App
from pgrun.command.foreign_answers import (
    ForeignWord,
    is_foreign,
    is_same_here,
    normalise_spelling,
    split_foreign_flags,
)
from pgrun.command.foreign_scripts import drop_launcher, refuse_foreign_command
from pgrun.command.hydra_internals.flags import build_flag_parser
from pgrun.command.hydra_words import find_wrong_hydra_word
from pgrun.command.sweep_values import find_wrong_word_values, list_word_values
from pgrun.config.paths import conf_dir
from pgrun.errors import PROGRAM, InvalidCommand, Mistake, SeveralMistakes
from pgrun.storage.newest_run import LAST, newest_folder

FOLDERS = ("resume", "run")  # settings that name a run
PLACES = ("hydra.run.dir", "hydra.sweep.dir")  # and where one goes
LISTS = ("network.hidden", "network.critic_hidden", "seeds", "modules", "env.wrappers", "logger.also")
EXAMPLE = f"settings are typed key=value, without spaces, for example: {PROGRAM} seed=3"
MEANT = {  # words that are a command elsewhere: what they are here
    "list": f"{PROGRAM} --list",
    "algos": f"{PROGRAM} --list",
    "config": f"{PROGRAM} --cfg job",
    "resume": f"{PROGRAM} resume=last",
    "continue": f"{PROGRAM} resume=last",
    "sweep": f"{PROGRAM} -m seed=0,1,2",
    "multirun": f"{PROGRAM} -m seed=0,1,2",
}
OWN_CONFIG = "it would replace pgrun's own configuration; add yours with --config-dir"
NOT_OURS = {
    "config_path": OWN_CONFIG,
    "config_name": OWN_CONFIG,
    "experimental_rerun": "it reads a pickle; repeat a run with the words in its .hydra/overrides.yaml",
}


@dataclass(frozen=True)
class CliOverride:
    """One override: ``key=value`` as typed. The key of ``critic/optimizer=sgd`` is ``critic.optimizer``."""

    text: str
    key: str
    value: Any

    @property
    def shown(self) -> str:
        """The word as the user would type it: Hydra's split of a sweep escapes what it need not."""
        return re.sub(r"\\([:{}])", r"\1", self.text.lstrip("+"))

    def once(self) -> str:
        """The word as a sweep of its one value; as it is where it has several, or none."""
        if self.value is None:
            return self.text
        key, _, value = self.text.partition("=")
        return f"{key}=choice({value})"

    @staticmethod
    def read(text: str) -> CliOverride:
        return CliOverride.of(OverridesParser.create().parse_override(text))

    @staticmethod
    def of(override: Override) -> CliOverride:
        value = None if override.is_sweep_override() else override.value()
        return CliOverride(str(override.input_line), override.key_or_group.replace("/", "."), value)


@dataclass(frozen=True)
class Command:
    """A command line that can be read; ``problems`` are the words that cannot, left out of ``words``.

    ``foreign``: those that another tool would read, which ``compose`` answers.
    """

    flags: argparse.Namespace
    options: list[str]  # the flags as typed
    words: list[CliOverride]
    problems: list[Mistake]
    app: App = PGRUN
    foreign: list[ForeignWord] = field(default_factory=list)

    def refuse_foreign(self) -> None:
        """Where nothing is composed."""
        if self.foreign:
            raise InvalidCommand(self.foreign[0].typed, None, "no such option here", "leave it out")

    @property
    def multirun(self) -> bool:
        asked: bool = self.flags.multirun
        return asked

    @property
    def config_dir(self) -> str | None:
        return os.path.abspath(self.flags.config_dir) if self.flags.config_dir else None

    @property
    def shows(self) -> bool:
        """Whether Hydra only has something to print."""
        flags = self.flags
        return bool(flags.cfg or flags.info or flags.hydra_help or flags.shell_completion)

    def typed_words(self) -> dict[str, list[str]]:
        """As Hydra's ``hydra.overrides`` has them: those of the task, and Hydra's own."""
        texts = {"hydra": list[str](), "task": list[str]()}
        for word in self.words:
            texts["hydra" if word.key.startswith("hydra.") else "task"].append(word.text)
        return texts

    @property
    def argv(self) -> list[str]:
        """For Hydra, whose parser wants the flags first.

        In a sweep over ``algo`` a word such as ``algo.delta=0.05`` becomes a sweep of one value: Hydra
        composes the sweep's base without what is swept, where there is no such setting.
        """
        groups = (word.key for word in self.words if word.value is None and "." not in word.key)
        swept = set(groups) if self.multirun else set()
        return [
            *self.options,
            *(word.once() if word.key.split(".")[0] in swept else word.text for word in self.words),
        ]


def read_command(argv: list[str], app: App = PGRUN) -> Command:
    """Hydra's own flags and the overrides, in any order."""
    parser = build_flag_parser()

    def refuse(message: str) -> NoReturn:
        raise InvalidCommand(message, None, "", f"{app.name} --help says more")

    parser.error = refuse  # type: ignore[method-assign]
    foreign, unknown = list[ForeignWord](), list[str]()
    if app is PGRUN:
        argv = drop_launcher(argv)
        refuse_foreign_command(argv)
        argv, foreign, unknown = split_foreign_flags(argv, parser._option_string_actions)
    flags, extra = parser.parse_known_intermixed_args(argv)
    if extra:
        raise SeveralMistakes([unknown_flags(extra, argv)], app.name)
    for name, reason in NOT_OURS.items():
        if getattr(flags, name):
            raise InvalidCommand(f"--{name.replace('_', '-')}", None, reason)
    if flags.config_dir is not None and not os.path.isdir(flags.config_dir):
        raise InvalidCommand("--config-dir", flags.config_dir, "no such folder")
    if flags.run and flags.multirun:
        raise InvalidCommand("--run or --multirun", None, "one of them")
    for option in ("resolve", "package"):
        if getattr(flags, option) and not flags.cfg:
            raise InvalidCommand(f"--{option}", None, "goes with --cfg job")
    options = typed_flags(argv, flags)
    if flags.shell_completion:
        return Command(flags, [*options, *flags.overrides], [], [], app)
    texts = [rewrite_word(text, app) for text in flags.overrides]
    unread = [text for text in texts if app is PGRUN and is_foreign_text(text)]
    words, problems = read_words([text for text in texts if text not in unread], flags.multirun)
    foreign += [ForeignWord(text, *split_foreign_text(text)) for text in unread]
    problems += [
        Mistake(text, None, "no such option, here or in the tools that are known", "leave it out")
        for text in unknown
    ]
    return Command(flags, options, words, problems, app, foreign)


def is_foreign_text(text: str) -> bool:
    """Whether it is a word of another tool that Hydra cannot read: ``policy_kwargs=dict(net_arch=[64])``."""
    name = "" if is_bare(text) else split_foreign_text(text)[0]
    if not is_foreign(name) or is_same_here(name):
        return False
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return True
    return False


def split_foreign_text(text: str) -> tuple[str, str]:
    """(the name, without its group; the value) of ``algo.learning_rate=1``."""
    key, _, value = text.partition("=")
    return normalise_spelling(key.lstrip("+").split(".")[-1]), value


def typed_flags(argv: list[str], flags: argparse.Namespace) -> list[str]:
    """Without the settings, and without --config-dir, which reaches Hydra through the search path."""
    options = list(argv)
    for text in flags.overrides:
        options.remove(text)
    kept: list[str] = []
    while options:
        option = options.pop(0)
        name, equals, _ = option.partition("=")
        if name == "-cd" or (len(name) > len("--config-") and "--config-dir".startswith(name)):
            if not equals:
                options.pop(0)
        else:
            kept.append(option)
    return kept


def rewrite_word(text: str, app: App = PGRUN) -> str:
    """``env.id=X`` chooses the environment, as ``env=X``; ``env.kwargs`` takes any key; a folder that is
    there is one word, whatever signs are in its name, and ``last`` is the newest run's.
    """
    key, _, value = text.partition("=")
    if key in FOLDERS and value == LAST:
        return hydra_word(key, newest_folder(f"{app.name} {key}="))
    if key in (*FOLDERS, *PLACES) and needs_quotes(value) and os.path.isdir(value):
        return hydra_word(key, value)
    text = re.sub(r"^env\.id=", "env=", text)
    return re.sub(r"^env\.kwargs([.=])", r"++env.kwargs\1", text)


def needs_quotes(folder: str) -> bool:
    """Whether Hydra would take the name for something else, ``3_algo=a2c,seed=0`` of a sweep's job, or for
    nothing: it reads no letters but those of English.
    """
    if folder[:1] in ("'", '"'):
        return False
    try:
        return bool(CliOverride.read(f"x={folder}").value != folder)
    except HydraException:
        return True


def read_words(texts: list[str], multirun: bool) -> tuple[list[CliOverride], list[Mistake]]:
    words, problems = [], [*find_bare_words(texts), *find_repeated(texts)]
    for text in texts:
        if is_bare(text):
            continue
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            problems.append(describe_unreadable(text))
            continue
        if problem := find_illegal(override, multirun):
            problems.append(problem)
        else:
            words.append(CliOverride.of(override))
    return words, problems


def find_illegal(override: Override, multirun: bool) -> Mistake | None:
    text, key, swept = str(override.input_line), override.key_or_group, override.is_sweep_override()
    if swept and not multirun:
        listed = f", or for one list {key}=[{text.partition('=')[2]}]" * (key in LISTS)
        return Mistake(text, None, "several values are a sweep", f"type {PROGRAM} -m{listed}")
    if swept and (problem := find_wrong_word_values(override)):
        return Mistake(text, None, problem)
    if override.is_hydra_override() and swept:
        return Mistake(text, None, "Hydra's own settings cannot be swept")
    if override.is_delete():
        return Mistake(text, None, "every setting is needed", "change it with key=value")
    if override.is_hydra_override() and (
        mistake := find_wrong_hydra_word(text, key, override.value(), multirun)
    ):
        return mistake
    if (is_group(key) or key.startswith("hydra/")) and not all(map(is_option, list_word_values(override))):
        return Mistake(text, None, f"the name of one option is needed; {PROGRAM} --help lists them")
    return None


def is_option(name: Any) -> bool:
    """A name below the group's folder, and not a path to anywhere."""
    return (
        isinstance(name, str) and not name.startswith("/") and not name.endswith(".yaml") and ".." not in name
    )


def describe_unreadable(text: str) -> Mistake:
    """Why a word cannot be read, in place of the parser's own message, which speaks of tokens."""
    key, _, value = text.partition("=")
    if not re.fullmatch(r"[+~]{0,2}[A-Za-z_][\w./@:-]*", key, re.ASCII):
        reason = f"cannot be read: {key!r} is no name of a setting; {PROGRAM} --cfg job shows them all"
        return Mistake(text, None, reason)
    if any(value.count(a) != value.count(b) for a, b in ("()", "[]", "{}")) or value.count('"') % 2:
        return Mistake(text, None, "cannot be read: brackets and quotes come in pairs")
    inner = value.strip("'\"")
    if key in PLACES and inner.startswith("~"):  # in quotes no shell replaces it
        inner = os.path.expanduser(inner)
    remedy = f"type a value with signs in it in two kinds of quotes: {shell_word(key, inner)}"
    return Mistake(text, None, "cannot be read", remedy)


class GivenTwice(Mistake):
    """A setting that stands there more than once: said after what is wrong with its name."""


def find_repeated(texts: list[str]) -> Iterator[Mistake]:
    """Keys that are given twice: Hydra would silently take the last."""
    given: dict[str, list[str]] = {}
    for text in texts:
        if not is_bare(text):
            given.setdefault(text.partition("=")[0].lstrip("+"), []).append(text)
    for same in given.values():
        if len(same) > 1:
            yield GivenTwice(" ".join(same), None, f"given {len(same)} times", "leave one")


def hydra_word(key: str, value: object, quote: str = "'") -> str:
    """``key='value'``, which Hydra's grammar takes whatever the value is: it halves backslashes before a
    quote, and no others.
    """
    inner = re.sub(rf"(\\*){quote}", rf"\1\1\\{quote}", str(value))
    inner = re.sub(r"(\\+)$", r"\1\1", inner)
    return f"{key}={quote}{inner}{quote}"


def shell_word(key: str, value: object) -> str:
    """``key=value`` as a user types it in a shell, with quotes where it needs any."""
    plain = f"{key}={value}"
    try:
        kept = CliOverride.read(plain).value == str(value)
    except HydraException:
        kept = False
    return shlex.quote(plain if kept else hydra_word(key, value, '"'))


def is_group(name: str) -> bool:
    return "." not in name and (conf_dir() / name).is_dir()


def is_bare(text: str) -> bool:
    """No ``key=value``, and not Hydra's ``~key``."""
    return text.find("=") < 1 and not text.startswith("~")


def find_bare_words(texts: list[str]) -> Iterator[Mistake]:
    """Words without ``=``, once: ``seed 3``, ``ppo``."""
    bare = [text for text in texts if is_bare(text)]
    words = [text if text.strip() else repr(text) for text in bare if text != "="] or bare[:1]
    if not words:
        return
    options = [f"{group}={word}" for word in words if (group := find_group(word))]
    hint = " ".join(options) or ("=".join(words[:2]) if len(words) > 1 else MEANT.get(words[0], ""))
    yield Mistake(" ".join(words), None, f"{EXAMPLE}; here: {hint}" if hint else EXAMPLE)


def find_group(option: str) -> str:
    """The group that has an option of this name, ``algo`` of ``ppo``; "" where there is none."""
    return next((path.parent.name for path in conf_dir().glob(f"*/{option}.yaml")), "")


def unknown_flags(flags: list[str], argv: list[str]) -> Mistake:
    """All of them, with what to type for those that are settings."""
    flags = [flag for flag in flags if flag.startswith("-")]  # argparse has put values among them
    here = []
    for flag in flags:
        name, _, value = flag.lstrip("-").partition("=")
        behind = [*argv[argv.index(flag) + 1 :], ""][0]
        value = value or ("…" if not behind or "=" in behind or behind.startswith("-") else behind)
        if is_group(name) or name in FOLDERS or is_same_here(flag.partition("=")[0]):
            here.append(f"{name}={value}")
    hint = f"; settings are typed key=value, here: {' '.join(here)}" if here else f", and {EXAMPLE}"
    return Mistake(" ".join(flags), None, f"no such option, {PROGRAM} --help lists them{hint}")
