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

IMPORTED: dict[str, None] = {}  # names of those that were imported, in their order


def import_user_module(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module = importlib.import_module(name)
    IMPORTED[name] = None
    return module
