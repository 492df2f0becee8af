"""The order of the tests, and what is the same for all of them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from tests.helpers.support_fork import folder_in_memory

LONGEST_FIRST = (
    *("runs", "tools", "test_docs.py", "training", "command", "variance"),
    *("api", "analysis", "compiled", "storage", "envs"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By folder, or file beside them; within one as they were collected."""
    places = {name: number for number, name in enumerate(LONGEST_FIRST)}
    top = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(top).parts[0] if item.path.is_relative_to(top) else ""
        return places.get(folder, len(places))

    items.sort(key=place)


def pytest_configure() -> None:
    """Runs of a moment do not wait for a disk: it is a third of their time."""
    if folder := folder_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)


def pytest_collection_finish() -> None:
    """What the imports have made stays: looking for cycles in it again and again is a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
