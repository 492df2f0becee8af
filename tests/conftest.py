"""The order of the tests: workers take whole files, and a long one must not be the last that is left."""

from __future__ import annotations

from pathlib import Path

import pytest

LONGEST_FIRST = ("runs", "tools", "api", "training", "command", "analysis", "compiled", "storage", "envs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By folder; within one as they were collected."""
    places = {name: number for number, name in enumerate(LONGEST_FIRST)}
    top = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(top).parts[0] if item.path.is_relative_to(top) else ""
        return places.get(folder, len(places))

    items.sort(key=place)
