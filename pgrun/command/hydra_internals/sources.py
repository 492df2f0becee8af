"""Where files of options come from. Each is parsed once in a process, as long as it does not change."""

from __future__ import annotations

import copy
import functools
import io
import operator
import os
import pickle
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, cast

from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import Container

SETTLED = 2.0  # seconds after which a file that changes again has another time of change on any disk


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
        known = module.split(".")[0] in ("hydra", "omegaconf", "collections", "typing")
        if known or isinstance(value, type) or any(value is one for one in OF_UNIONS):
            return value
        raise pickle.UnpicklingError(f"{module}.{name}")


OF_UNIONS = (operator.getitem, operator.or_, functools.reduce)  # what a pickle writes int | float with


class KeptResult(ConfigResult):
    """What Hydra has made of a file. Its configuration is copied when it is asked for: of most files a
    composition wants the package and the defaults list alone.
    """

    def __init__(self, result: ConfigResult):
        vars(self).update(vars(result))
        self.pickled = pickle.dumps(vars(self).pop("config"))  # seven times faster than a deepcopy

    @cached_property
    def config(self) -> Container:  # type: ignore[override]
        return cast(Container, OwnPickle(self.pickled).load())


def load_config_once(repo: ConfigRepository, config_path: str) -> ConfigResult | None:
    """Hydra's result for a file, or for a registered node, which it makes once as long as that stays what it
    is: a composition asks for thirty.

    Raises ``ConfigLoadError``.
    """
    source = repo._find_object_source(config_path, ObjectType.CONFIG)
    try:
        stamp = stamp_config(source, config_path)
    except (LookupError, OSError):
        return load_config(repo, config_path)
    assert source is not None
    key = (source.scheme(), source.path, source.provider, config_path, id(stamp[0]), *stamp[1:])
    if key not in LOADED:
        result = load_config(repo, config_path)
        assert result is not None
        LOADED[key] = stamp[0], KeptResult(result)
    return copy.copy(LOADED[key][1])


load_config = ConfigRepository.load_config
LOADED: dict[tuple[Any, ...], tuple[Any, KeptResult]] = {}  # with what is known by its identity


def stamp_config(source: ConfigSource | None, config_path: str) -> tuple[Any, ...]:
    """The registered node, or None, and what is another number once the file has changed.

    Raises ``LookupError``, ``OSError`` where that cannot be told.
    """
    if isinstance(source, ImportlibResourcesConfigSource):
        return (None,)
    if source is not None and source.scheme() == "structured":
        return (ConfigStore.instance()._load(source._normalize_file_name(config_path)),)
    if not isinstance(source, FileConfigSource):
        raise LookupError(config_path)
    about = os.stat(os.path.join(source.path, source._normalize_file_name(config_path)))
    if time.time() - about.st_mtime < SETTLED:
        raise LookupError(config_path)
    return (None, *stamp_file(about))


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's own, which looks for a file without a look at each folder on the way, for links."""

    def is_config(self, config_path: str) -> bool:
        return os.path.isfile(os.path.join(self.path, self._normalize_file_name(config_path)))


class ImportlibResourcesConfigSource(importlib_resources_config_source.ImportlibResourcesConfigSource):
    """Files inside an installed package, such as Hydra's own, which is looked through once."""

    def is_config(self, config_path: str) -> bool:
        is_config = importlib_resources_config_source.ImportlibResourcesConfigSource.is_config
        key = (self.path, config_path)
        if key not in INSTALLED:
            INSTALLED[key] = is_config(self, config_path)
        return INSTALLED[key]


INSTALLED: dict[tuple[str, str], bool] = {}  # whether there is such a file, by package and name


def stamp_file(about: os.stat_result) -> tuple[int, ...]:
    """What is another number once the file has changed."""
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino


def stamp_folder(folder: str) -> Iterator[tuple[Any, ...]]:
    """Every file of options in it. Raises ``LookupError`` where one has changed just now, or where it is a
    whole project, as with ``--config-dir .``: to look through that takes longer than composing.
    """
    for count, entry in enumerate(os.scandir(folder)):
        if count == MOST_ENTRIES or entry.name in PROJECT:
            raise LookupError(folder)
        if entry.is_dir():
            yield from stamp_folder(entry.path)
        elif entry.name.endswith(".yaml"):
            about = entry.stat()
            if time.time() - about.st_mtime < SETTLED:
                raise LookupError(entry.path)
            yield (entry.path, *stamp_file(about))


MOST_ENTRIES = 1000  # of a folder of options
PROJECT = {".git", ".venv", "venv", "outputs", "multirun", "node_modules"}


def stamp_nodes(nodes: Mapping[str, Any]) -> Iterator[int]:
    """Every node that a program has registered with Hydra."""
    for node in nodes.values():
        if isinstance(node, dict):
            yield from stamp_nodes(node)
        else:
            REGISTERED[id(node)] = node
            yield id(node)


REGISTERED: dict[int, Any] = {}  # kept, so that no other node gets the same identity


def stamp_sources(repo: IConfigRepository) -> tuple[Any, ...]:
    """All that a composition may read. Raises ``LookupError``, ``OSError`` where it cannot be told."""
    sources = [(source.scheme(), source.path) for source in repo.get_sources()]
    folders = [path for scheme, path in sources if scheme == "file"]
    nodes = stamp_nodes(ConfigStore.instance().repo)
    return (*sources, *nodes, *(stamp for folder in folders for stamp in stamp_folder(folder)))
