"""The order of the tests, and what is the same for all of them."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.support_fork import folder_in_memory

# Files by how their paths begin. The first one has most kernels compiled, where there is no machine code yet;
# meanwhile the other worker goes through what needs none, and does not wait. Then the longest.
ORDER = (
    *("runs/test_alone", "variance/test_exact", "command/test_refusals", "runs/", "tools/", "test_docs"),
    *("training/", "command/", "variance/", "api/", "analysis/", "compiled/", "storage/", "envs/"),
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, Any, Any]:
    """Every other worker begins with the last folder: what one has compiled the other one reads."""
    report = yield
    odd = os.environ.get("PYTEST_XDIST_WORKER", "")[-1:] in tuple("13579")
    if odd and isinstance(collector, pytest.Directory):
        report.result.reverse()
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In that order; the tests of one file as they were collected."""
    top = Path(__file__).parent

    def place(item: pytest.Item) -> tuple[int, str]:
        path = item.path.relative_to(top).as_posix() if item.path.is_relative_to(top) else ""
        return next((n for n, begins in enumerate(ORDER) if path.startswith(begins)), len(ORDER)), path

    items.sort(key=place)


def pytest_configure() -> None:
    """Runs of a moment do not wait for a disk: it is a third of their time. What collecting makes stays, and
    the collector looks for no cycles in it.
    """
    gc.disable()
    if folder := folder_in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)


def pytest_collection_finish() -> None:
    """What the imports have made stays: looking for cycles in it again and again is a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture
def differentiable() -> Iterator[None]:
    """Building a run turns differentiation off for the process; oracles by autograd need it."""
    import torch

    with torch.enable_grad():
        yield


@pytest.fixture
def without_gradients() -> Iterator[None]:
    """As a run has turned it off."""
    import torch

    with torch.no_grad():
        yield
