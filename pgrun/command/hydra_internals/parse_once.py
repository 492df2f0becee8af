"""The same options are merged, and the same words parsed, once in a process."""

from __future__ import annotations

import copy
import pickle
import typing
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from itertools import takewhile
from typing import Any, cast
from weakref import WeakKeyDictionary

import omegaconf._utils
import omegaconf.base
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.default_element import GroupDefault, InputDefault, ResultDefault
from hydra.core.override_parser import overrides_parser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.grammar_parser import parse

from pgrun.command.hydra_internals.sources import (
    FileConfigSource,
    ImportlibResourcesConfigSource,
    KeptResult,
    OwnPickle,
    load_config_once,
    stamp_sources,
)


def choose_defaults_once(
    repo: IConfigRepository, config_name: str | None, overrides_list: list[Override], **how: bool
) -> defaults_list.DefaultsList:
    """Hydra's ``create_defaults_list``, once for the same options: values do not change which files are read.

    Raises ``HydraException``.
    """
    values = defaults_list.Overrides(repo, overrides_list).config_overrides
    options = tuple(str(word.input_line) for word in overrides_list if word not in values)
    made: defaults_list.DefaultsList = keep_composed(
        repo,
        (config_name, options, *how.values()),
        lambda: create_defaults_list(repo, config_name, overrides_list, **how),
    )
    return replace(made, config_overrides=values)


def merge_defaults_once(
    loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository
) -> DictConfig:
    """Hydra's merge of the files in a defaults list, before any value is set: a copy, once for the same list.

    Raises ``HydraException``.
    """
    merged = keep_composed(
        repo, repr(defaults), lambda: pickle.dumps(merge_after_hydra(loader, defaults, repo))
    )
    return cast(DictConfig, OwnPickle(merged).load())


class WithFirstMerged:
    """Loads files as ``loader`` does, but for ``first``, which stands for all of Hydra's, merged already."""

    def __init__(self, loader: ConfigLoaderImpl, first: ResultDefault, merged: ConfigResult):
        self.loader, self.first, self.merged = loader, first, merged

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        if default is self.first:
            return self.merged
        return self.loader._load_single_config(default, repo)


def merge_after_hydra(
    loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository
) -> DictConfig:
    """Hydra's merge, which begins with its own files: these are mostly the same, and are merged once."""
    own = list(takewhile(lambda default: (default.config_path or "").startswith("hydra/"), defaults))
    if not own:
        return merge_defaults(loader, defaults, repo)
    first = keep_composed(repo, repr(own), lambda: pickle.dumps(merge_defaults(loader, own, repo)))
    files = WithFirstMerged(loader, own[0], ConfigResult("", "", OwnPickle(first).load(), {}))
    whole = merge_defaults(cast(Any, files), [own[0], *defaults[len(own) :]], repo)
    OmegaConf.clear_cache(whole)  # of ${now:}, which a merge looks at
    return whole


def map_choices_if_asked(
    overrides: defaults_list.Overrides, defaults: list[InputDefault], self_added: bool
) -> DictConfig | None:
    """Hydra's map of what has been chosen so far, made in one piece. Hydra makes one for every file, and only
    a defaults list with ``${…}`` in it asks for it.
    """
    if not any(default.is_interpolation() for default in defaults):
        return None
    choices = [
        {default.get_override_key(): default.value}
        if isinstance(default, GroupDefault)
        else default.get_config_path()
        for default in defaults
        if not (self_added and default.is_self())
    ]
    return OmegaConf.create({**overrides.known_choices, "defaults": choices})


def embed_uncopied(result: ConfigResult, package_override: str | None) -> ConfigResult:
    """Hydra's ``_embed_result_config``, without a copy of what is one already: it moves into the merge, and
    who asks for the same file again, at another place, gets another copy.
    """
    package = result.header["package"] if package_override is None else package_override
    if not package:
        return result
    kept = isinstance(result, KeptResult)
    whole, config = OmegaConf.create(), result.config if kept else copy.deepcopy(result.config)
    with flag_override(whole, "no_deepcopy_set_nodes", True):
        OmegaConf.update(whole, package, config, merge=False)
    embedded = copy.copy(result)
    embedded.config = whole
    if kept:
        del result.config
    return embedded


def keep_composed(repo: IConfigRepository, key: Any, make: Callable[[], Any]) -> Any:
    """What ``make`` has made of this key, as long as no file changes between compositions."""
    try:
        if repo not in STAMPS:
            STAMPS[repo] = stamp_sources(repo)
        key = (key, STAMPS[repo])
    except (LookupError, OSError):
        return make()
    if key not in COMPOSED:
        if len(COMPOSED) >= MOST_COMPOSED:
            COMPOSED.clear()
        COMPOSED[key] = make()
    return COMPOSED[key]


STAMPS: WeakKeyDictionary[IConfigRepository, tuple[Any, ...]] = WeakKeyDictionary()  # one a composition
COMPOSED: dict[Any, Any] = {}
MOST_COMPOSED = 1000  # about 20 MB
create_defaults_list = defaults_list.create_defaults_list
merge_defaults = ConfigLoaderImpl._compose_config_from_defaults_list


def parse_word_once(parser: overrides_parser.OverridesParser, word: str, rule_name: str) -> Any:
    """What Hydra's parser makes of a word, which a command gives it some four times.

    Raises ``HydraException``. A list that the word asks to be shuffled is another one each time.
    """
    if rule_name != "override" or "shuffle" in word:
        return parse_rule(parser, word, rule_name)
    if word not in WORDS:
        if len(WORDS) >= MOST_WORDS:
            WORDS.clear()
        WORDS[word] = parse_rule(parser, word, rule_name)
    return replace(WORDS[word], _value=copy.deepcopy(WORDS[word]._value))


WORDS: dict[str, Override] = {}
MOST_WORDS = 10_000  # about 10 MB
parse_rule = overrides_parser.OverridesParser.parse_rule
create_functions = cache(overrides_parser.create_functions)
get_type_hints = cache(typing.get_type_hints)  # of the classes of Hydra's own settings


def keep_plugins(state: Any) -> None:
    """Hydra's ``Singleton.set_state``, with the plugins that this process has found: to look for them again
    executes their modules anew, whose classes are then others than those in what is kept.
    """
    if (plugins := Singleton._instances.get(Plugins)) is not None:
        state = {**state, "instances": {**state["instances"], Plugins: plugins}}
    set_state(state)


set_state = Singleton.set_state


def parse_once() -> None:
    """Let Hydra parse each of its files and each word, OmegaConf each ``${…}``, and merge the same options
    once in a process.
    """
    parser: Any = overrides_parser
    parser.OverridesParser.parse_rule = parse_word_once
    parser.create_functions = create_functions
    loader: Any = config_loader_impl
    loader.create_defaults_list = choose_defaults_once
    loader.ConfigLoaderImpl._compose_config_from_defaults_list = merge_defaults_once
    loader.ConfigLoaderImpl._embed_result_config = staticmethod(embed_uncopied)
    choices: Any = defaults_list
    choices._create_interpolation_map = map_choices_if_asked
    loader.ConfigRepository.load_config = load_config_once
    loader.ConfigRepository.__deepcopy__ = lambda repo, _: copy.copy(repo)  # its list of sources is replaced
    singleton: Any = Singleton
    singleton.set_state = staticmethod(keep_plugins)
    Plugins.instance()  # registers Hydra's own sources; these have their names
    sources: list[type[ConfigSource]] = [FileConfigSource, ImportlibResourcesConfigSource]
    SourcesRegistry.instance().types |= {source.scheme(): source for source in sources}
    modules: list[Any] = [omegaconf.base, omegaconf._utils]
    for module in modules:
        module.parse = parse_interpolation_once
    modules[1].get_type_hints = get_type_hints


@lru_cache(maxsize=4000)
def parse_interpolation_once(
    value: str, parser_rule: str = "configValue", lexer_mode: str = "DEFAULT_MODE"
) -> Any:
    """OmegaConf's tree of a text with ``${…}`` in it, which is only read."""
    return parse(value, parser_rule, lexer_mode)
