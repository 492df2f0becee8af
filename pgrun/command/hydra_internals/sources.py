"""Where files of options come from. Each is parsed once in a process, as long as it does not change."""

from __future__ import annotations

import io
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult, ConfigSource

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
