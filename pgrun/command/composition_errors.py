"""One sentence with the nearest names, for what Hydra could not compose."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from pgrun.command.app import PGRUN, App
from pgrun.command.foreign_answers import find_foreign_option, is_foreign
from pgrun.command.foreign_names import ABSENT, ATARI, NEAREST, PIXELS
from pgrun.command.overrides import CliOverride
from pgrun.config.pages import install_command
from pgrun.config.paths import conf_dir
from pgrun.errors import PROGRAM, Mistake

EXTRAS = {"hydra/launcher=joblib": "parallel"}
MOST_NAMES = 40  # in a hint
OPEN = ("hydra.job.env_set",)  # with entries of any name, which Hydra has added alone
BROKEN_FILE = (YAMLError, UnicodeDecodeError)
UNREADABLE = (YAMLError, OmegaConfBaseException, ValueError, OSError)
LOST = re.compile(r"Interpolation key '([^']*)' not found")
QUOTED = re.compile(r"Could not (?:override|append|delete)[^']*'([^']*)'|Multiple values for ([\w./]+)")


class Explainer:
    """Turns Hydra's exceptions into (the word at fault, a sentence); used inside ``composing_with_hydra``."""

    def __init__(self, config_dir: str | None, app: App = PGRUN):
        self.app, self.config_dir = app, config_dir
        self.places = [conf_dir(), *(Path(place) for place in (app.options, config_dir) if place)]
        self.known: dict[tuple[str, ...], list[str]] = {}  # what ``keys`` found
        self.lost: set[str] = set()  # groups with an unknown option: what belongs to it is not known either
        self.foreign: dict[str, CliOverride] = {}  # names of other tools, by key

    def explain(
        self, error: Exception, words: Sequence[CliOverride]
    ) -> tuple[CliOverride | None, Mistake | None]:
        """(None, sentence) where no word can be blamed; (word, None) where an earlier sentence covers it."""
        if isinstance(error, MissingConfigException):
            return self.unknown_option(error.missing_cfg_file or "", words)
        if listed := next(self.find_list_files(words), None):
            return listed
        text = f"{error}\n{error.__cause__ or ''}".strip()
        word = None if isinstance(error, BROKEN_FILE) else find_word_at_fault(error, text, words)
        if word is None:
            where = find_full_key(error)
            reason = f"{where}: {text.splitlines()[0]}" if where else text.splitlines()[0]
            return None, Mistake.of("; ".join(broken_files(self.config_dir)) or reason)
        absent = isinstance(error.__cause__ or error, ConfigAttributeError | ConfigKeyError)
        if absent or "No match in the defaults list" in text:
            return word, self.unknown_key(word, words)
        return word, Mistake(word.shown, None, extract_hydra_reason(error, text))

    def find_list_files(self, words: Sequence[CliOverride]) -> Iterator[tuple[CliOverride, Mistake]]:
        """Words that choose a file of the user's with a list in it, or a text, where settings are to be."""
        for word in words:
            for place in self.places[1:]:
                path = place / f"{self.group_of(word)}/{word.value}.yaml"
                content: Any = DictConfig({})
                with suppress(*UNREADABLE):  # which is explained otherwise
                    content = OmegaConf.load(path)
                if not isinstance(content, DictConfig):
                    reason = f"{os.path.relpath(path)} holds a list, and an option's file holds settings"
                    yield word, Mistake(word.text, None, reason, "write them as name: value, one a line")

    def explain_circle(self, words: Sequence[CliOverride]) -> Mistake:
        """The options of the user's own, one of which is in its own defaults."""
        own = [place for place in self.places if place != conf_dir()]
        files = [(word, f"{self.group_of(word)}/{word.value}.yaml") for word in words if self.is_option(word)]
        named = [word.shown for word, file in files if any((place / file).is_file() for place in own)]
        shown = " ".join(named) or "the configuration"
        reason = "a file that names itself in its defaults, or two that name each other"
        return Mistake(shown, None, reason, "take that line out")

    def unknown_option(
        self, path: str, words: Sequence[CliOverride]
    ) -> tuple[CliOverride | None, Mistake | None]:
        for word in words:
            group = self.group_of(word)
            if group is not None and path == f"{group}/{word.value}":
                self.lost.add(group)
                return word, Mistake(group, word.value, self.hint(group, str(word.value)))
        return None, Mistake(path, None, "no such option in the configuration")

    def group_of(self, word: CliOverride) -> str | None:
        head = word.text.lstrip("+").split("=")[0].split("@")[0]
        return head if "." not in head else None

    def hint(self, group: str, name: str) -> str:
        extra = EXTRAS.get(f"{group}={name}")
        if extra:
            return f'needs the extra "{extra}": {install_command(extra)}'
        if group == "env" and "/" in name and ":" not in name:
            return (
                "not registered with gymnasium; if another package brings it, name its module: "
                f"env=module:{name}"
            )
        if group == "algo" and (why := ABSENT.get(name.lower().replace("-", "_"))):
            return f"there is none: {why}; {NEAREST}"
        if group == "env" and re.search(ATARI, name):
            return f"not registered with gymnasium; {PIXELS}"
        options = self.options(group)
        from pgrun.envs.versions import newest_version

        if group == "env" and (newest := newest_version(name, options)):
            return f"not registered with gymnasium; type env={newest}"
        if words := find_foreign_option(group, name, options):
            return f"no such option; type {words}"
        return f"no such option; {describe_nearest(name, options)}"

    def options(self, group: str) -> list[str]:
        names = GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)
        if group == "env":
            from pgrun.envs.problems.registration import registry

            names = [*names, *registry]
        return sorted(set(names))

    def unknown_key(self, word: CliOverride, words: Sequence[CliOverride]) -> Mistake | None:
        group, _, rest = word.key.partition(".")
        owners = list(self.owners(group, rest)) if rest else []
        if owners:
            if self.lost:  # an unknown option may have been the one that brings it
                return None
            here = next((other.text for other in words if other.key == group), "this run")
            return Mistake(word.key, None, f"a setting of {' and '.join(owners)}, not of {here}")
        if self.app is PGRUN and is_foreign(word.key.split(".")[-1]):
            self.foreign[word.key] = word
            return None
        if opened := next((key for key in OPEN if word.key == key or word.key.startswith(f"{key}.")), None):
            return Mistake(word.text, None, f"an entry is added to {opened}", f"type +{word.text}")
        groups = [] if rest else [path.parent.name for path in conf_dir().glob(f"*/{word.value}.yaml")]
        hint = f"here: {groups[0]}={word.value}" if groups else nearest_key(word.key, self.keys(words))
        return Mistake(word.key, None, f"no such setting; {hint}")

    def owners(self, group: str, rest: str) -> Iterator[str]:
        """The options of the group that have this setting."""
        for place in self.places:
            for path in sorted((place / group).glob("*.yaml")):
                content: Any = None
                with suppress(*UNREADABLE):  # one of the user's that this command may not need
                    content = OmegaConf.to_container(OmegaConf.load(path))
                if isinstance(content, Mapping):
                    content = content.get(group, content)
                    if rest.split(".")[0] in content:
                        yield f"{group}={path.stem}"

    def keys(self, words: Sequence[CliOverride]) -> list[str]:
        """Every setting of the configuration that the command's options make, and the groups."""
        chosen = tuple(word.text for word in words if self.is_option(word))
        if chosen not in self.known:
            self.known[chosen] = self.compose_keys(chosen)
        return self.known[chosen]

    def is_option(self, word: CliOverride) -> bool:
        group = self.group_of(word)
        if group is None or word.text.startswith("+"):
            return False
        return any((place / group).is_dir() for place in self.places)

    def compose_keys(self, chosen: Sequence[str]) -> list[str]:
        for texts in (list(chosen), []):
            try:
                cfg = compose(self.app.config, overrides=texts, return_hydra_config=True)
            except (HydraException, OmegaConfBaseException):
                continue
            settings: Any = OmegaConf.to_container(cfg, resolve=False)
            settings.pop("usual", None)
            groups = [path.name for place in self.places for path in place.iterdir() if path.is_dir()]
            return list(dict.fromkeys([*every_key(settings), *groups]))
        return []


def broken_files(config_dir: str | None) -> Iterator[str]:
    """The user's files of options that are no YAML, each with its line."""
    for path in sorted(Path(config_dir or os.devnull).rglob("*.yaml")):
        try:
            OmegaConf.load(path)
        except UNREADABLE as error:
            yield f"{os.path.relpath(path)}{describe_yaml_error(error)}"


def describe_yaml_error(error: Exception) -> str:
    if isinstance(error, OSError):
        return f": {error.strerror or error}"
    text = str(getattr(error, "problem", None) or error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    at = f", line {mark.line + 1}" if mark else ""
    return f"{at}: a tab, and YAML is indented with spaces" if r"\t" in text else f"{at}: {text}"


def find_full_key(error: Exception) -> str | None:
    """The setting that OmegaConf names, where it does."""
    return getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)


def find_word_at_fault(error: Exception, text: str, words: Sequence[CliOverride]) -> CliOverride | None:
    """The word that an error speaks of, or that sets all of which it speaks of a part."""
    match = QUOTED.search(text)
    names = [name for name in (find_full_key(error), match and (match[1] or match[2])) if name]
    keys = [name.replace("/", ".").split("=")[0].lstrip("+") for name in names]
    for key in keys:
        for word in reversed(words):
            if key in (word.key, word.text):
                return word
    for word in reversed(words):
        if any(key.startswith((f"{word.key}.", f"{word.key}[")) for key in keys):
            return word
    lost = LOST.search(text)
    return next(
        (word for word in words if word.text in text or (lost and f"${{{lost[1]}}}" in word.text)), None
    )


def extract_hydra_reason(error: Exception, text: str) -> str:
    """Hydra's own words, without what the user's word already says."""
    lines = [line.strip() for line in str(error.__cause__ or text).splitlines()]
    return next((line for line in lines if line and not line.startswith("Could not")), lines[0])


def every_key(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from every_key(value, f"{prefix}{key}.")


def nearest_key(key: str, keys: Sequence[str]) -> str:
    """Misspelt, or right but without its group."""
    leaf = key.split(".")[-1]
    typed = [name for name in keys if not name.endswith(".name")]  # an option is chosen as a whole
    own = [name for name in typed if not name.startswith("hydra") or key.startswith("hydra")]
    elsewhere = [name for name in own if name.split(".")[-1] == leaf]
    elsewhere.sort(key=lambda name: name.count("."))  # optimizer.lr before critic.optimizer.lr
    group = [name for name in own if "." in key and name.rpartition(".")[0] == key.rpartition(".")[0]]
    leaves = {name.split(".")[-1]: name for name in group}
    near = [
        *elsewhere,
        *(leaves[match] for match in difflib.get_close_matches(leaf, list(leaves), n=2, cutoff=0.6)),
        *difflib.get_close_matches(key, own, n=3, cutoff=0.75),
    ]
    near = near or [
        name for name in own if difflib.SequenceMatcher(None, name.split(".")[-1], leaf).ratio() > 0.75
    ]
    near = near or group
    names = list(dict.fromkeys(near))
    where = f"{PROGRAM} --cfg {'hydra' if key.startswith('hydra') else 'job'} shows"
    if not names:
        return f"{where} them all"
    more = f" and {len(names) - MOST_NAMES} more, which {where}" if len(names) > MOST_NAMES else ""
    return f"{'nearest' if names != group else 'there are'}: {', '.join(names[:MOST_NAMES])}{more}"


def describe_nearest(name: str, options: Iterable[str]) -> str:
    """Close names, or all of them where there are few."""
    options = list(dict.fromkeys(options))
    lower = {option.lower(): option for option in options}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.6)]
    if len(options) < 15:
        return f"there are {', '.join(options)}"
    return f"nearest: {', '.join(near)}" if near else f"{PROGRAM} --help says how to list them"
