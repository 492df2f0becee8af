"""Every use of Hydra's private modules: what to look at when Hydra changes."""

from __future__ import annotations

import argparse
import copy
import io
import logging
import os
import pickle
import sys
import time
import typing
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import omegaconf._utils
import omegaconf.base
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.core.override_parser import overrides_parser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.grammar_parser import parse

SETTLED = 2.0  # seconds after which a file that changes again has another time of change on any disk


def build_flag_parser() -> ArgumentParser:
    """The parser of Hydra's own flags, ``--cfg`` and the like."""
    with accepting_lazy_help():
        return get_args_parser()


@contextmanager
def accepting_lazy_help() -> Iterator[None]:
    """Let Hydra build its parser under Python 3.14, whose argparse looks at each help text as it is added.

    Hydra 1.3 gives one that is no string yet, an object that shows itself as one when it is printed; argparse
    calls that badly formed. Strings are looked at as ever, and before 3.14 there is nothing to do.
    """
    container = argparse._ActionsContainer
    check = getattr(container, "_check_help", None)
    if check is None:
        yield
        return

    def check_strings(self: argparse._ActionsContainer, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(self, action)

    container._check_help = check_strings  # type: ignore[attr-defined]
    try:
        yield
    finally:
        container._check_help = check  # type: ignore[attr-defined]


def split_sweep_words(overrides: list[Override]) -> list[list[str]]:
    """The words of each job of a sweep, in the order in which Hydra runs them. Raises ``HydraException``."""
    batches = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return [[str(text) for text in words] for words in batches[0]]


def open_config_source(path: str) -> ConfigSource:
    """What ``hydra.searchpath`` names: a folder, or ``scheme://place``."""
    scheme = path.rpartition("://")[0] or "file"
    return SourcesRegistry.instance().resolve(scheme)("hydra.searchpath", path)


class OwnPickle(pickle.Unpickler):
    """A copy of a configuration that this process has pickled: it knows their classes alone."""

    def __init__(self, content: bytes):
        super().__init__(io.BytesIO(content))

    def find_class(self, module: str, name: str) -> Any:
        """Raises ``UnpicklingError`` for any other class, and for a function."""
        value = getattr(sys.modules.get(module), name, None)
        if module.split(".")[0] in ("hydra", "omegaconf", "collections", "typing") or isinstance(value, type):
            return value
        raise pickle.UnpicklingError(f"{module}.{name}")


PARSED: dict[
    tuple[Any, ...], bytes
] = {}  # pickled, which OmegaConf copies by seven times faster than by deepcopy


def load_once(load: Callable[[Any, str], ConfigResult], source: ConfigSource, name: str, stamp: Any) -> Any:
    """A copy of what ``load`` has made of this file, since Hydra takes its defaults list out of it."""
    key = (source.scheme(), source.path, source.provider, name, stamp)
    if key not in PARSED:
        PARSED[key] = pickle.dumps(load(source, name))
    return OwnPickle(PARSED[key]).load()


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's own, which parses a file once as long as it does not change: a composition asks for thirty."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Raises ``ConfigLoadError``."""
        load = file_config_source.FileConfigSource.load_config
        try:
            config = os.stat(os.path.join(self.path, self._normalize_file_name(config_path)))
        except OSError:
            return load(self, config_path)  # which says what is wrong
        if time.time() - config.st_mtime < SETTLED:
            return load(self, config_path)
        return cast(ConfigResult, load_once(load, self, config_path, stamp_file(config)))

    def is_config(self, config_path: str) -> bool:
        """Without a look at each folder on the way, for links."""
        return os.path.isfile(os.path.join(self.path, self._normalize_file_name(config_path)))


class ImportlibResourcesConfigSource(importlib_resources_config_source.ImportlibResourcesConfigSource):
    """The same of files inside an installed package, such as Hydra's own, which is looked through once."""

    def is_config(self, config_path: str) -> bool:
        is_config = importlib_resources_config_source.ImportlibResourcesConfigSource.is_config
        key = (self.path, config_path)
        if key not in INSTALLED:
            INSTALLED[key] = is_config(self, config_path)
        return INSTALLED[key]

    def load_config(self, config_path: str) -> ConfigResult:
        """Raises ``ConfigLoadError``."""
        load = importlib_resources_config_source.ImportlibResourcesConfigSource.load_config
        return cast(ConfigResult, load_once(load, self, config_path, None))


INSTALLED: dict[tuple[str, str], bool] = {}  # whether there is such a file, by package and name


def stamp_file(about: os.stat_result) -> tuple[int, ...]:
    """What is another number once the file has changed."""
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino


def stamp_folder(folder: str) -> Iterator[tuple[Any, ...]]:
    """Every file of options in it. Raises ``LookupError`` where one has changed just now."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from stamp_folder(entry.path)
        elif entry.name.endswith(".yaml"):
            about = entry.stat()
            if time.time() - about.st_mtime < SETTLED:
                raise LookupError(entry.path)
            yield (entry.path, *stamp_file(about))


def stamp_sources(repo: IConfigRepository) -> tuple[Any, ...]:
    """All that a composition may read. Raises ``LookupError``, ``OSError`` where it cannot be told."""
    sources = [(source.scheme(), source.path) for source in repo.get_sources()]
    folders = [path for scheme, path in sources if scheme == "file"]
    return (*sources, *(stamp for folder in folders for stamp in stamp_folder(folder)))


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


def merge_after_hydra(
    loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository
) -> DictConfig:
    """Hydra's merge, which begins with its own files: these are mostly the same, and are merged once."""
    own = list(takewhile(lambda default: (default.config_path or "").startswith("hydra/"), defaults))
    first = keep_composed(repo, repr(own), lambda: pickle.dumps(merge_defaults(loader, own, repo)))
    merged = ConfigResult("", "", OwnPickle(first).load(), {})

    class AfterHydra:
        """What is asked for the files: the first one is all of Hydra's."""

        def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
            return merged if default is own[0] else loader._load_single_config(default, repo)

    whole = merge_defaults(cast(Any, AfterHydra()), [*own[:1], *defaults[len(own) :]], repo)
    OmegaConf.clear_cache(whole)  # of ${now:}, which a merge looks at
    return whole


def map_choices_if_asked(
    overrides: defaults_list.Overrides, defaults: list[InputDefault], self_added: bool
) -> DictConfig | None:
    """Hydra's map of what has been chosen so far, which it makes for every file, and which only a defaults
    list with ``${…}`` in it asks for.
    """
    if any(default.is_interpolation() for default in defaults):
        return map_choices(overrides, defaults, self_added)
    return None


def embed_uncopied(result: ConfigResult, package_override: str | None) -> ConfigResult:
    """Hydra's ``_embed_result_config``, without its copy: what is embedded is merged at once, which copies
    it.
    """
    package = result.header["package"] if package_override is None else package_override
    if not package:
        return result
    whole = OmegaConf.create()
    with flag_override(whole, "no_deepcopy_set_nodes", True):
        OmegaConf.update(whole, package, result.config, merge=False)
    embedded = copy.copy(result)
    embedded.config = whole
    return embedded


def keep_composed(repo: IConfigRepository, key: Any, make: Callable[[], Any]) -> Any:
    """What ``make`` has made of this key, as long as no file changes."""
    try:
        key = (key, stamp_sources(repo))
    except (LookupError, OSError):
        return make()
    if key not in COMPOSED:
        if len(COMPOSED) >= MOST_COMPOSED:
            COMPOSED.clear()
        COMPOSED[key] = make()
    return COMPOSED[key]


COMPOSED: dict[Any, Any] = {}
MOST_COMPOSED = 1000  # about 20 MB
create_defaults_list = defaults_list.create_defaults_list
map_choices = defaults_list._create_interpolation_map
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
    loader.ConfigRepository.__deepcopy__ = lambda repo, _: copy.copy(repo)  # its list of sources is replaced
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


def run_composed_job(cfg: DictConfig, folder: Path, task: TaskFunction) -> None:
    """Run one job as ``hydra.main`` does, on a configuration that is composed already.

    ``hydra.main`` would compose it twice more, half a second. cfg: with its hydra section. Raises what
    ``task`` raises.
    """
    with open_dict(cfg):
        cfg.hydra.mode = RunMode.RUN
        cfg.hydra.run.dir = str(folder)
    raise_failure(run_job(task, cfg, "hydra.run.dir", None, make_context()))


def make_context() -> HydraContext:
    """What a job is run in: nobody's callbacks, and nothing that composes."""
    return HydraContext(config_loader=cast(ConfigLoader, None), callbacks=cast(Any, Callbacks()))


def raise_failure(done: JobReturn) -> None:
    """What the task raised, without Hydra's own words on it."""
    if done.status == JobStatus.FAILED:
        raise cast(Exception, done._return_value)


def run_composed_sweep(
    sweep: Path,
    typed: dict[str, list[str]],
    folders: Sequence[Path],
    compose_job: Callable[[int], DictConfig],
    task: TaskFunction,
) -> None:
    """Run jobs in turn as Hydra's basic sweeper and launcher do, on configurations composed already.

    Those compose each job twice more. typed: the words of the whole sweep, which multirun.yaml keeps.
    folders: one for each job, below ``sweep``. compose_job(number): its configuration, with its hydra
    section. Raises what ``task`` raises, once all have been run.
    """
    log, first, ended = logging.getLogger("hydra"), compose_job(0), []
    whole = first.copy()
    with open_dict(whole):
        whole.hydra.mode = RunMode.MULTIRUN
        whole.hydra.overrides.update(typed)
    OmegaConf.save(whole, sweep / "multirun.yaml")
    configure_log(first.hydra.hydra_logging, first.hydra.verbose)
    log.info(f"Launching {len(folders)} jobs locally")
    for number, folder in enumerate(folders):
        cfg = compose_job(number)
        log.info(f"\t#{number} : {' '.join(cfg.hydra.overrides.task)}")
        with open_dict(cfg):
            cfg.hydra.mode = RunMode.MULTIRUN
            cfg.hydra.sweep.dir, cfg.hydra.sweep.subdir = str(sweep), str(folder.relative_to(sweep))
        done = run_job(task, cfg, "hydra.sweep.dir", "hydra.sweep.subdir", make_context())
        ended += [done] if done.status == JobStatus.FAILED else []
        configure_log(first.hydra.hydra_logging, first.hydra.verbose)
    for done in ended:
        raise_failure(done)
