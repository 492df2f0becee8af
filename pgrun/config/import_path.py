"""What new Python processes import from: nothing of the current folder, unless the path names it.

Python puts the current folder in front of their path (``-c`` and ``-m`` do), so that an innocent
``random.py`` of the user's would be imported there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

SAFE_PATH = "PYTHONSAFEPATH"  # Python 3.11: nothing is put in front of the path
OURS = "pgrun"  # its value where we set it: any text that is not empty will do


@contextmanager
def safe_import_path() -> Iterator[None]:
    """Python processes that are started meanwhile import nothing from the current
    folder, unless the path names it.
    """
    if os.environ.get(SAFE_PATH):
        yield
        return
    os.environ[SAFE_PATH] = OURS
    try:
        yield
    finally:
        os.environ.pop(SAFE_PATH, None)


def restore_import_path() -> None:
    """Let Python scripts that the user's environment starts inside a job find their own folder again."""
    if os.environ.get(SAFE_PATH) == OURS:
        del os.environ[SAFE_PATH]
