"""The user's own modules, which the command names: found in the current folder too,
behind everything installed.

The folder is no place to import from before that: it may be somebody's run directory, with a
``tensorflow.py`` in it that TensorBoard would look for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from pgrun.config.paths import where_typed

IMPORTED: dict[str, None] = {}  # names of those that were imported, in their order


class InstalledFirst:
    """Looks for what is installed before Python comes to the user's folders at the end of the path.

    Python itself prefers any module to a package without ``__init__.py``, wherever they stand: a
    ``google.py`` of the user's would hide ``google.protobuf``. And a name of the standard library is never
    the user's, also where this system lacks the module.
    """

    def __init__(self) -> None:
        self.folders: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raises ``ModuleNotFoundError`` for a module of the standard library that is only the user's."""
        if path is not None:
            return None
        places = [place for place in sys.path if place not in self.folders]
        spec = PathFinder.find_spec(name, places, target)
        if spec is None and name in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return spec


INSTALLED_FIRST = InstalledFirst()


def add_user_folder(folder: str) -> None:
    """Look for the user's modules there too, from now on, unless the path names it already."""
    if folder in sys.path:
        return
    sys.path.append(folder)
    INSTALLED_FIRST.folders.add(folder)
    if INSTALLED_FIRST not in sys.meta_path:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), INSTALLED_FIRST)


@contextmanager
def hiding_user_folders() -> Iterator[list[str]]:
    """The folders that were added, off the path meanwhile: a new process would get them before it knows that
    they come last.
    """
    hidden = [place for place in sys.path if place in INSTALLED_FIRST.folders]
    sys.path[:] = [place for place in sys.path if place not in hidden]
    try:
        yield hidden
    finally:  # threads may do it at the same time
        sys.path.extend(place for place in hidden if place not in sys.path)


def import_user_module(name: str) -> ModuleType:
    """From the path, or else from where the command was typed."""
    add_user_folder(str(where_typed().absolute()))
    module = importlib.import_module(name)
    IMPORTED[name] = None
    return module


def user_module_names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """() for what is no list of names, which ``find_wrong_values`` reports."""
    given = settings.get("modules")
    return tuple(x for x in given if isinstance(x, str)) if isinstance(given, list) else ()
