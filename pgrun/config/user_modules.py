"""The user's own modules, which the command names: found in the current folder too,
behind everything installed.

The folder is no place to import from before that: it may be somebody's run directory, with a
``tensorflow.py`` in it that TensorBoard would look for.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

IMPORTED: set[str] = set()  # names of the modules that commands have named, in this process


def import_user_module(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module = importlib.import_module(name)
    IMPORTED.add(name)
    return module
